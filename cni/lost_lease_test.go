// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A lease that somebody removed doesn't keep DEL from finding what the attachment has, with or without a result.
func TestDetachWithoutItsLease(t *testing.T) {
	n := network(t, masqueraded)
	a := attachment(t, "lost")
	res, err := Attach(context.Background(), n, a)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(n.conf.IPAM.DataDir, n.conf.Name, res.IPs[0].Address.Addr().String())); err != nil {
		t.Fatal(err)
	}
	if err := Detach(context.Background(), n, a); err != nil {
		t.Fatal(err)
	}
	if l := left(t, n, a); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
}

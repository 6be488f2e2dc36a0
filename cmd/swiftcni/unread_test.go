// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// A runtime that ended meanwhile doesn't read the answer. The ADD ends by itself, not by SIGPIPE,
// and takes back what it made.
func TestAddThatNobodyHearsOfIsUndone(t *testing.T) {
	leases := t.TempDir()
	conf := `{"cniVersion":"1.1.0","name":"unread","type":"bridge","bridge":"unread0","isGateway":true,"ipMasq":true,
		"ipam":{"type":"host-local","subnet":"10.3.0.0/24","dataDir":"` + leases + `"}}`
	cmd := exec.Command(filepath.Join(os.Getenv(binariesVar), "ours", "bridge"))
	cmd.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=" + nstest.New(t, "unread"), "CNI_PATH=/nowhere"}
	cmd.Stdin = strings.NewReader(conf)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	defer writer.Close()
	cmd.Stdout = writer
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("ended with %v, want exit status 1", err)
	}
	if links := nstest.Run(t, "", "ip", "-o", "link", "show", "type", "veth"); links != "" {
		t.Error("links are left: ", links)
	}
	if rules := nstest.Run(t, "", "nft", "list", "ruleset"); strings.Contains(rules, "c1/eth0") {
		t.Error("elements are left: ", rules)
	}
	left, err := filepath.Glob(leases + "/unread/10.*")
	if err != nil || len(left) > 0 {
		t.Error("leases are left: ", left, err)
	}
}

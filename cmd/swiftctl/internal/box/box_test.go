// SPDX-License-Identifier: Apache-2.0

package box

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/swiftcni/swiftcni/internal/offload"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func TestMain(m *testing.M) {
	Init()
	if Inside() {
		if err := look(); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		os.Exit(4)
	}
	os.Exit(m.Run())
}

// look looks around in a box.
func look() error {
	if _, err := Enter(nil); err != nil {
		return err
	}
	if !offload.Reaped() {
		return errors.New("the plugins don't know the first process as one that reaps")
	}
	return nil
}

// A DEL is as fast in a box as on a host only if its plugins may leave children to the first process.
func TestABoxHasAnInit(t *testing.T) {
	nstest.Full(t, "it makes namespaces")
	var said bytes.Buffer
	status, err := Run(t.Context(), &said, &said)
	if err != nil || status != 4 {
		t.Errorf("exit status %d, %v\n%s", status, err, &said)
	}
}

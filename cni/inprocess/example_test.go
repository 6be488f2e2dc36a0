// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/swiftcni/swiftcni/cni/inprocess"
)

// A client of libcni's asks bridge for its versions, and no plugin is started. The other plugins
// are executed.
func ExampleNew() {
	execute := &invoke.DefaultExec{RawExec: &invoke.RawExec{Stderr: os.Stderr}}
	client := libcni.NewCNIConfig([]string{"/opt/cni/bin"}, inprocess.New(execute, "bridge", "host-local"))
	versions, err := client.GetVersionInfo(context.Background(), "bridge")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(versions.SupportedVersions())
	// Output: [0.1.0 0.2.0 0.3.0 0.3.1 0.4.0 1.0.0 1.1.0]
}

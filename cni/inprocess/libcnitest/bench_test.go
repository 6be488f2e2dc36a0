// SPDX-License-Identifier: Apache-2.0

package libcnitest

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/swiftcni/swiftcni/cni/inprocess"
	"github.com/swiftcni/swiftcni/internal/build"
	"github.com/swiftcni/swiftcni/internal/nstest"
)

// pause lets the kernel finish a DEL before the next ADD is measured.
const pause = 40 * time.Millisecond

func median(list []time.Duration) float64 {
	slices.Sort(list)
	return float64(list[len(list)/2].Microseconds()) / 1000
}

// BenchmarkLibcni compares a plugin that libcni executes with one that's called: bridge with host-local and masquerade,
// attached and detached, on a bridge that has another container.
func BenchmarkLibcni(b *testing.B) {
	trustInit(b)
	dir := b.TempDir()
	if err := build.Swiftcni(io.Discard, "../../..", dir, ""); err != nil {
		b.Fatal(err)
	}
	list := listOf(b, `{ "cniVersion": "1.1.0", "name": "bench", "plugins": [ { "type": "bridge", "bridge": "bench0",
		"isGateway": true, "ipMasq": true, "ipam": { "type": "host-local", "subnet": "10.7.0.0/16", "dataDir": "/run/leases" } } ] }`)
	for _, way := range []struct {
		name string
		exec invoke.Exec
	}{{"executed", execute()}, {"inprocess", inprocess.New(execute())}} {
		b.Run(way.name, func(b *testing.B) {
			client := libcni.NewCNIConfigWithCacheDir([]string{dir}, filepath.Join(b.TempDir(), "cache"), way.exec)
			ctx, stays := context.Background(), &libcni.RuntimeConf{ContainerID: "stays", NetNS: nstest.New(b, "stays"), IfName: "eth0"}
			if _, err := client.AddNetworkList(ctx, list, stays); err != nil {
				b.Fatal(err)
			}
			rt := &libcni.RuntimeConf{ContainerID: "c1", NetNS: nstest.New(b, "c1"), IfName: "eth0"}
			var adds, dels []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := client.AddNetworkList(ctx, list, rt); err != nil {
					b.Fatal(err)
				}
				adds = append(adds, time.Since(start))
				start = time.Now()
				if err := client.DelNetworkList(ctx, list, rt); err != nil {
					b.Fatal(err)
				}
				dels = append(dels, time.Since(start))
				time.Sleep(pause)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(adds), "ADD-ms")
			b.ReportMetric(median(dels), "DEL-ms")
			if err := client.DelNetworkList(ctx, list, stays); err != nil {
				b.Fatal(err)
			}
		})
	}
}

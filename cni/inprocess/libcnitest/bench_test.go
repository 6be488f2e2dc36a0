// SPDX-License-Identifier: Apache-2.0

package libcnitest

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	gocni "github.com/containerd/go-cni"
	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/swiftcni/swiftcni/cni/inprocess"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

const root = "../../.."

// pluginsVar names the directory of the reference's plugins to the re-executed test binary.
const pluginsVar = "LIBCNITEST_REFERENCE"

// TestMain gets the reference's plugins for a benchmark, since inside the tests' namespaces there's no network to fetch a
// module from.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() != "" && os.Getenv(pluginsVar) == "" {
		path, err := filepath.Abs(root)
		if err != nil {
			log.Fatal(err)
		}
		dir, err := build.Reference(os.Stderr, path)
		if err == nil {
			err = os.Setenv(pluginsVar, dir)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	nstest.Main(m)
}

// pause lets the kernel finish a DEL before the next ADD is measured.
const pause = 40 * time.Millisecond

// A way is how a runtime attaches a pod: by libcni or by go-cni, with the one's plugins or the other's.
type way struct {
	name          string
	setUp, remove func(id, path string) error
	ups, downs    []time.Duration
}

// times are of whole lives, attaching and detaching.
func (w *way) times() []time.Duration {
	list := make([]time.Duration, len(w.ups))
	for i := range list {
		list[i] = w.ups[i] + w.downs[i]
	}
	return list
}

// measure attaches a pod and detaches it.
func (w *way) measure(id, path string) error {
	start := time.Now()
	if err := w.setUp(id, path); err != nil {
		return fmt.Errorf("%s attaches: %w", w.name, err)
	}
	up := time.Now()
	if err := w.remove(id, path); err != nil {
		return fmt.Errorf("%s detaches: %w", w.name, err)
	}
	w.ups, w.downs = append(w.ups, up.Sub(start)), append(w.downs, time.Since(up))
	time.Sleep(pause)
	return nil
}

// ways are pairs of libcni and go-cni with the same client, on a network of their own.
func ways(b *testing.B) (list []*way) {
	ours := b.TempDir()
	if err := build.Swiftcni(io.Discard, root, ours, ""); err != nil {
		b.Fatal(err)
	}
	for i, c := range []struct {
		name, dir string
		exec      invoke.Exec
	}{
		{"reference", os.Getenv(pluginsVar), execute()},
		{"swiftcni executed", ours, execute()},
		{"swiftcni in-process", ours, inprocess.New(execute())},
	} {
		client := libcni.NewCNIConfigWithCacheDir([]string{c.dir}, b.TempDir(), c.exec)
		confDir, text := podList(b, fmt.Sprintf("bench%d", i), fmt.Sprintf("10.%d.0.0/16", 20+i), b.TempDir())
		pods, list1, ctx := podRuntime(b, confDir, client), listOf(b, text), context.Background()
		port := 9000 + i
		runtimeConf := func(id, path string) *libcni.RuntimeConf {
			return &libcni.RuntimeConf{ContainerID: id, NetNS: path, IfName: "eth0", CapabilityArgs: map[string]any{
				"portMappings": []gocni.PortMapping{{HostPort: int32(port), ContainerPort: 80, Protocol: "tcp"}},
				"bandwidth":    gocni.BandWidth{IngressRate: 1e8, IngressBurst: 1e7, EgressRate: 1e8, EgressBurst: 1e7}}}
		}
		list = append(list, &way{name: "libcni, " + c.name,
			setUp: func(id, path string) error {
				_, err := client.AddNetworkList(ctx, list1, runtimeConf(id, path))
				return err
			},
			remove: func(id, path string) error { return client.DelNetworkList(ctx, list1, runtimeConf(id, path)) },
		}, &way{name: "go-cni, " + c.name,
			setUp: func(id, path string) error {
				_, err := pods.Setup(ctx, id, path, podOptions(id, int32(port))...)
				return err
			},
			remove: func(id, path string) error { return pods.Remove(ctx, id, path, podOptions(id, int32(port))...) },
		})
		rt := runtimeConf("stays", nstest.New(b, fmt.Sprintf("stays%d", i)))
		rt.CapabilityArgs = nil
		if _, err := client.AddNetworkList(ctx, list1, rt); err != nil {
			b.Fatal(err)
		}
	}
	return list
}

// BenchmarkRuntimes attaches and detaches a pod with a port and a limit, on a bridge that has another: by libcni, and by
// go-cni with a loopback beside, in a new order each round. An iteration is a round.
func BenchmarkRuntimes(b *testing.B) {
	trustInit(b)
	all := ways(b)
	order := rand.New(rand.NewPCG(1, 1))
	path, round := nstest.New(b, "pod"), 0
	for b.Loop() {
		for _, i := range order.Perm(len(all)) {
			if err := all[i].measure(fmt.Sprintf("pod%d-%d", round, i), path); err != nil {
				b.Fatal(err)
			}
		}
		round++
	}
	b.ReportMetric(0, "ns/op")
	tw := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\nms\tattach p50\tp99\tdetach p50\tp99\tboth, reference/this\t")
	for i, w := range all {
		fmt.Fprintf(tw, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t\n", w.name, quantile(w.ups, 0.5), quantile(w.ups, 0.99),
			quantile(w.downs, 0.5), quantile(w.downs, 0.99), ratio(all[i%2].times(), w.times()))
	}
	tw.Flush()
}

// quantile is in milliseconds.
func quantile(list []time.Duration, q float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[int(q*float64(len(sorted)-1)+0.5)].Seconds() * 1000
}

// ratio is the median of the rounds' ratios.
func ratio(theirs, ours []time.Duration) float64 {
	var list []float64
	for i := range theirs {
		list = append(list, theirs[i].Seconds()/ours[i].Seconds())
	}
	slices.Sort(list)
	return list[len(list)/2]
}

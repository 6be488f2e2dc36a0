// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A Cost compares one GC with a DEL for each attachment. Calls and sends are of whole processes.
type Cost struct {
	Attachments int
	// Gone says that the containers' namespaces had ended, and their links with them.
	Gone              bool
	DELs, GC          time.Duration // until the links were gone, too
	DELCalls, GCCalls int           // system calls; those of DELs are one DEL's times Attachments
	DELSends, GCSends int           // datagrams of netlink messages, likewise
}

func (c Cost) write(w io.Writer) {
	what := "containers alive"
	if c.Gone {
		what = "containers gone"
	}
	ratio := func(a, b int) float64 { return float64(b) / float64(max(a, 1)) }
	fmt.Fprintf(w, "%d attachments, %s: DELs %v, %d system calls, %d sends; GC %v, %d, %d: 1/%.0f, 1/%.0f, 1/%.0f\n",
		c.Attachments, what, c.DELs.Round(time.Millisecond), c.DELCalls, c.DELSends, c.GC.Round(100*time.Microsecond), c.GCCalls, c.GCSends,
		ratio(int(c.GC), int(c.DELs)), ratio(c.GCCalls, c.DELCalls), ratio(c.GCSends, c.DELSends))
}

// costs measures how GC compares to DEL in the calling process's host.
func costs(p Plan, out io.Writer) (list []Cost, err error) {
	names, err := startNamespaces()
	if err != nil {
		return nil, err
	}
	conf := map[string]any{"cniVersion": "1.1.0", "name": "gc", "type": "bridge", "bridge": "gc0", "isGateway": true, "ipMasq": true,
		"ipam": map[string]any{"type": "host-local", "dataDir": dataDir, "subnet": "10.99.0.0/16"}}
	if p.Foreign {
		conf["ipMasqBackend"] = "nftables"
	}
	for _, gone := range []bool{true, false} {
		m := &costing{plan: p, names: names, conf: conf, gone: gone, out: out}
		cost, err := m.measure()
		if err != nil {
			return nil, err
		}
		list = append(list, cost)
	}
	return list, nil
}

// costing is one comparison.
type costing struct {
	plan  Plan
	names *namespaces
	conf  map[string]any
	gone  bool
	out   io.Writer
}

func (m *costing) id(i int) string    { return fmt.Sprintf("c%d", i) }
func (m *costing) netns(i int) string { return "/run/netns/" + m.id(i) }

func (m *costing) measure() (c Cost, err error) {
	c = Cost{Attachments: m.plan.Costs, Gone: m.gone}
	if c.GC, err = m.clean(func() error { return m.run("GC", "", "", nil) }); err != nil {
		return c, err
	}
	if _, err = m.clean(func() error { return m.run("GC", "", "", counted(&c.GCCalls, &c.GCSends)) }); err != nil {
		return c, err
	}
	c.DELs, err = m.clean(func() error {
		for i := range m.plan.Costs {
			if err := m.run("DEL", m.id(i), m.path(i), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	_, err = m.clean(func() error {
		if err := m.run("DEL", m.id(0), m.path(0), counted(&c.DELCalls, &c.DELSends)); err != nil {
			return err
		}
		return m.run("GC", "", "", nil)
	})
	c.DELCalls, c.DELSends = c.DELCalls*m.plan.Costs, c.DELSends*m.plan.Costs
	return c, err
}

// path is CNI_NETNS of a DEL.
func (m *costing) path(i int) string {
	if m.gone {
		return ""
	}
	return m.netns(i)
}

// clean attaches containers, ends them if they are to be gone, and measures the time that by needs
// to detach them all.
func (m *costing) clean(by func() error) (time.Duration, error) {
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return 0, err
	}
	for i := range m.plan.Costs {
		if err := m.names.make(m.netns(i)); err != nil {
			return 0, err
		}
		if err := m.run("ADD", m.id(i), m.netns(i), nil); err != nil {
			return 0, err
		}
	}
	fmt.Fprintf(m.out, "race: attached %d\n", m.plan.Costs)
	if m.gone {
		if err := m.end(); err != nil {
			return 0, err
		}
	}
	started := time.Now()
	if err := by(); err != nil {
		return 0, err
	}
	took := time.Since(started)
	if err := m.waitForLinks(); err != nil {
		return 0, err
	}
	if !m.gone {
		took = time.Since(started)
		if err := m.end(); err != nil {
			return 0, err
		}
	}
	return took, m.nothingLeft()
}

// end ends the containers.
func (m *costing) end() error {
	for i := range m.plan.Costs {
		if err := endNetNS(m.netns(i), false); err != nil {
			return err
		}
	}
	return m.waitForLinks()
}

// waitForLinks returns once only the bridge and lo are left.
func (m *costing) waitForLinks() error {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		links, err := hostLinks()
		if err != nil || len(links) == 2 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d links are left", len(links))
		}
	}
}

func (m *costing) nothingLeft() error {
	es, err := elements()
	if err != nil {
		return err
	}
	leases, err := filepath.Glob(dataDir + "/gc/10.*")
	if len(es)+len(leases) > 0 {
		return fmt.Errorf("%d elements and %d leases are left", len(es), len(leases))
	}
	return err
}

// run runs the plugin, under strace if count is set.
func (m *costing) run(verb, id, netns string, count func(trace string)) error {
	conf := m.conf
	if verb == "GC" {
		conf = map[string]any{"cni.dev/valid-attachments": []string{}}
		for k, v := range m.conf {
			conf[k] = v
		}
	}
	text, err := json.Marshal(conf)
	if err != nil {
		return err
	}
	const trace = "/run/trace"
	argv := []string{filepath.Join(m.plan.Plugins, "bridge")}
	if count != nil {
		argv = append([]string{"strace", "-f", "-qqq", "-o", trace}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(string(text))
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID="+id, "CNI_NETNS="+netns, "CNI_IFNAME=eth0", "CNI_PATH="+m.plan.Plugins)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", verb, id, err, out)
	}
	if count == nil {
		return nil
	}
	traced, err := os.ReadFile(trace)
	count(string(traced))
	return err
}

var tracedCall = regexp.MustCompile(`(?m)^\d+ +([a-z0-9_]+)\(`)

// counted counts system calls and sends in a trace, without those whose number depends on the Go
// scheduler.
func counted(calls, sends *int) func(string) {
	return func(trace string) {
		for _, match := range tracedCall.FindAllStringSubmatch(trace, -1) {
			switch match[1] {
			case "futex", "nanosleep", "sched_yield", "madvise", "clone", "rt_sigreturn", "tgkill", "getpid", "epoll_pwait",
				"gettid", "sigaltstack", "rt_sigprocmask", "mmap", "munmap":
				continue
			case "sendto", "sendmsg", "sendmmsg":
				*sends++
			}
			*calls++
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
)

// A host is a box with a resident's socket, configurations, leases, and an exporter's socket.
type host struct{ dir, socket, conf, leases, metrics string }

const shop = `{ "cniVersion": "1.1.0", "name": "shop", "type": "bridge", "bridge": "shop0", "isGateway": true, "ipMasq": true,
  "ipam": { "type": "host-local", "dataDir": "%s", "ranges": [ [ { "subnet": "10.99.1.0/24" } ],
    [ { "subnet": "fd00:99::/64", "rangeStart": "fd00:99::10", "rangeEnd": "fd00:99::1f" } ] ] } }`

func newHost(t *testing.T) *host {
	t.Helper()
	nstest.Run(t, "", "ip", "link", "set", "lo", "up")
	nstest.Run(t, "", "sh", "-c", endLinks)
	dir := t.TempDir()
	h := &host{dir, dir + "/resident", dir + "/net.d", dir + "/leases", "unix:" + dir + "/metrics"}
	if err := os.Mkdir(h.conf, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.conf+"/shop.conf", []byte(h.shop()), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// endLinks ends what the test before has attached: the tests share a namespace, and a link goes some
// time after its container has.
const endLinks = `ip -brief link show type veth | while read -r name _; do ip link delete "${name%%@*}" 2>/dev/null || true; done`

func (h *host) shop() string { return fmt.Sprintf(shop, h.leases) }

func (h *host) args(more ...string) []string {
	return append([]string{"--listen", h.metrics, "--socket", h.socket, "--conf-dir", h.conf, "--data-dir", h.leases}, more...)
}

func (h *host) scrape(t *testing.T) string { return scrape(t, h.metrics) }

// awaits waits until a scrape has a line.
func (h *host) awaits(t *testing.T, line string) {
	t.Helper()
	until(t, line, func() bool { return has(h.scrape(t), line) })
}

// expect fails unless a scrape has the lines.
func (h *host) expect(t *testing.T, lines ...string) {
	t.Helper()
	text := h.scrape(t)
	for _, line := range lines {
		if !has(text, line) {
			t.Errorf("lacks %s", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

// published is portmap's configuration, behind the result of another plugin.
func published(t *testing.T, result string) string {
	t.Helper()
	conf := map[string]any{"cniVersion": "1.1.0", "name": "shop", "type": "portmap", "capabilities": map[string]bool{"portMappings": true},
		"runtimeConfig": map[string]any{"portMappings": []map[string]any{{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}}},
		"prevResult":    json.RawMessage(result)}
	text, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// An exporter counts the calls of whichever resident there is: none, one, a killed one's successor, and
// one that takes over.
func TestExporter(t *testing.T) {
	h := newHost(t)
	start(t, exporter(h.args()...))
	h.awaits(t, "swiftcni_resident_up 0")
	h.expect(t, `swiftcni_exporter_info{version="`+cni.Version()+`"} 1`, `swiftcni_leases_used{network="shop",range="10.99.1.0/24"} 0`,
		`swiftcni_leases_free{network="shop",range="10.99.1.0/24"} 253`, `swiftcni_leases_free{network="shop",range="fd00:99::10-fd00:99::1f"} 16`,
		`swiftcni_inventory_read{part="leases"} 1`, `swiftcni_inventory_read{part="ports"} 1`)

	first := startResident(t, h.socket)
	h.awaits(t, "swiftcni_resident_up 1")
	c1, c2 := nstest.New(t, "c1"), nstest.New(t, "c2")
	result := call{plugin: "bridge", verb: "ADD", container: "c1", netns: c1, config: h.shop()}.through(t, h.socket)
	call{plugin: "portmap", verb: "ADD", container: "c1", netns: c1, config: published(t, result)}.through(t, h.socket)
	call{plugin: "bridge", verb: "ADD", container: "c2", netns: c2, config: h.shop()}.through(t, h.socket)
	if out, err := (call{plugin: "bridge", verb: "ADD", container: "c3", netns: "/nowhere", config: h.shop()}).try(h.socket); err == nil {
		t.Error("an ADD to nowhere succeeded:", out)
	}
	h.awaits(t, `swiftcni_calls_total{code="4",plugin="bridge",verb="ADD"} 1`)
	h.expect(t, `swiftcni_calls_total{code="0",plugin="bridge",verb="ADD"} 2`, `swiftcni_calls_total{code="0",plugin="portmap",verb="ADD"} 1`,
		`swiftcni_call_duration_seconds_count{plugin="bridge",verb="ADD"} 3`, `swiftcni_step_duration_seconds_count{step="lease",verb="ADD"} 2`,
		`swiftcni_step_duration_seconds_count{step="links",verb="ADD"} 2`, `swiftcni_step_duration_seconds_count{step="plugin",verb="ADD"} 1`,
		`swiftcni_leases_used{network="shop",range="10.99.1.0/24"} 2`, `swiftcni_leases_free{network="shop",range="10.99.1.0/24"} 251`,
		`swiftcni_leases_used{network="shop",range="fd00:99::10-fd00:99::1f"} 2`, `swiftcni_leases_free{network="shop",range="fd00:99::10-fd00:99::1f"} 14`,
		`swiftcni_published_ports{protocol="tcp"} 1`, `swiftcni_events_lost_total 0`, `swiftcni_reclaimed_attachments_total 0`)

	kill(first)
	h.awaits(t, "swiftcni_resident_up 0")
	second := startResident(t, h.socket)
	h.awaits(t, "swiftcni_resident_up 1")
	nstest.Remove(c2) // nobody says DEL
	until(t, "c2's link is gone", func() bool {
		return strings.Count(nstest.Run(t, "", "ip", "-o", "link", "show", "type", "veth"), "\n") == 1
	})
	call{plugin: "bridge", verb: "GC", config: h.shop()}.through(t, h.socket)
	h.awaits(t, "swiftcni_reclaimed_attachments_total 1")
	h.expect(t, `swiftcni_calls_total{code="0",plugin="bridge",verb="GC"} 1`, `swiftcni_leases_used{network="shop",range="10.99.1.0/24"} 1`)

	third := startResident(t, h.socket)
	call{plugin: "portmap", verb: "DEL", container: "c1", netns: c1, config: published(t, result)}.through(t, h.socket)
	if err := second.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(); err != nil {
		t.Error("the resident ends:", err)
	}
	h.awaits(t, "swiftcni_resident_up 1")
	until(t, "the third resident's calls are heard", func() bool {
		call{plugin: "bridge", verb: "DEL", container: "c1", netns: c1, config: h.shop()}.through(t, h.socket)
		return strings.Contains(h.scrape(t), `swiftcni_calls_total{code="0",plugin="bridge",verb="DEL"}`)
	})
	h.expect(t, `swiftcni_leases_used{network="shop",range="10.99.1.0/24"} 0`, "swiftcni_events_lost_total 0")
	if strings.Contains(h.scrape(t), "swiftcni_published_ports{") {
		t.Error("a port is left")
	}
	kill(third)
}

// An exporter needs none of the resident's capabilities, but the one by which it reads ports.
func TestExporterWithFewCapabilities(t *testing.T) {
	nstest.Full(t, "the user's own namespace has other capabilities")
	h := newHost(t)
	startResident(t, h.socket)
	cmd := exporter(h.args()...)
	start(t, &exec.Cmd{Path: "/usr/bin/setpriv", Env: cmd.Env, Args: append([]string{"setpriv", "--bounding-set", "-all,+net_admin",
		"--inh-caps", "-all", "--no-new-privs", "/proc/" + fmt.Sprint(os.Getpid()) + "/exe"}, h.args()...)})
	h.awaits(t, "swiftcni_resident_up 1")
	call{plugin: "bridge", verb: "VERSION"}.through(t, h.socket)
	h.awaits(t, `swiftcni_calls_total{code="0",plugin="bridge",verb="VERSION"} 1`)
	h.expect(t, `swiftcni_inventory_read{part="leases"} 1`, `swiftcni_inventory_read{part="ports"} 1`)
}

// A receiver is a collector of traces.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*tracepb.Span
	about []string // the attributes of their resources
}

func newReceiver(t *testing.T) *receiver {
	r := new(receiver)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		var data tracepb.TracesData
		if err == nil {
			err = proto.Unmarshal(body, &data)
		}
		if err != nil || request.URL.Path != "/v1/traces" || request.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Error(request.URL, request.Header, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, of := range data.ResourceSpans {
			r.about = append(r.about, of.Resource.String())
			for _, scope := range of.ScopeSpans {
				r.spans = append(r.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// named are the spans of a name.
func (r *receiver) named(name string) (list []*tracepb.Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.Name == name {
			list = append(list, s)
		}
	}
	return list
}

// The trace that a runtime names gets a span of the call, with one of each step below.
func TestTraces(t *testing.T) {
	h := newHost(t)
	startResident(t, h.socket)
	to := newReceiver(t)
	cmd := start(t, exporter(h.args("--otlp", to.URL)...))
	h.awaits(t, "swiftcni_resident_up 1")
	c1 := nstest.New(t, "c1")
	const id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	sampled, not := []string{"TRACEPARENT=00-" + id + "-" + parent + "-01"}, []string{"TRACEPARENT=00-" + id + "-" + parent + "-00"}
	call{plugin: "bridge", verb: "VERSION"}.through(t, h.socket)
	call{plugin: "bridge", verb: "VERSION", env: not}.through(t, h.socket)
	call{plugin: "bridge", verb: "ADD", container: "c1", netns: c1, config: h.shop(), env: sampled}.through(t, h.socket)
	_, _ = call{plugin: "bridge", verb: "ADD", container: "c2", netns: "/nowhere", config: h.shop(), env: sampled}.try(h.socket)
	until(t, "both calls' spans", func() bool { return len(to.named("ADD bridge")) == 2 })
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error("the exporter ends:", err)
	}
	calls := to.named("ADD bridge")
	slices.SortFunc(calls, func(a, b *tracepb.Span) int { return int(a.GetStatus().GetCode()) - int(b.GetStatus().GetCode()) })
	done, failed := calls[0], calls[1]
	if failed.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR || !strings.Contains(failed.GetStatus().GetMessage(), "/nowhere") {
		t.Error("the one that failed:", failed)
	}
	if done.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR || hex.EncodeToString(done.TraceId) != id || hex.EncodeToString(done.ParentSpanId) != parent {
		t.Error("the one that succeeded:", done)
	}
	for _, want := range []string{`key:"cni.container_id" value:{string_value:"c1"}`, `key:"cni.network" value:{string_value:"shop"}`, `key:"cni.code" value:{int_value:0}`} {
		if text := strings.ReplaceAll(done.String(), "  ", " "); !strings.Contains(text, want) {
			t.Errorf("lacks %s: %s", want, text)
		}
	}
	for _, name := range []string{"parse", "lease", "veth", "rules", "container", "answer"} {
		i := slices.IndexFunc(to.named(name), func(s *tracepb.Span) bool { return string(s.ParentSpanId) == string(done.SpanId) })
		if i < 0 {
			t.Errorf("no span %s below the call's", name)
			continue
		}
		if s := to.named(name)[i]; s.StartTimeUnixNano < done.StartTimeUnixNano || s.EndTimeUnixNano > done.EndTimeUnixNano || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s isn't within the call: %v", name, s)
		}
	}
	if len(to.named("VERSION bridge")) != 0 {
		t.Error("a call without a trace, or with one that nobody keeps, was sent")
	}
	if !strings.Contains(to.about[0], "swiftcni") {
		t.Error("the resource:", to.about[0])
	}
}

// The dashboard asks for nothing that there isn't, and everything that there is has its line in the docs.
func TestDocumented(t *testing.T) {
	h := newHost(t)
	startResident(t, h.socket)
	to := newReceiver(t)
	start(t, exporter(h.args("--otlp", to.URL)...))
	h.awaits(t, "swiftcni_resident_up 1")
	c1 := nstest.New(t, "c1")
	result := call{plugin: "bridge", verb: "ADD", container: "c1", netns: c1, config: h.shop()}.through(t, h.socket)
	call{plugin: "portmap", verb: "ADD", container: "c1", netns: c1, config: published(t, result)}.through(t, h.socket)
	h.awaits(t, `swiftcni_calls_total{code="0",plugin="portmap",verb="ADD"} 1`)
	text := h.scrape(t)
	there := series(text)

	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, of := range there {
		if row := fmt.Sprintf("| `%s` | %s | %s | ", name, of.kind, of.labelText()); !strings.Contains(string(page), row) {
			t.Errorf("docs/metrics.md lacks %s", row)
		}
	}
	for line := range strings.Lines(string(page)) {
		if name, is := strings.CutPrefix(line, "| `swiftcni_"); is {
			if name, _, _ = strings.Cut(name, "`"); there["swiftcni_"+name] == nil {
				t.Errorf("docs/metrics.md has swiftcni_%s, which isn't there", name)
			}
		}
	}
	for _, query := range queries(t, "../../docs/grafana.json") {
		if err := asks(query, there); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// An exporter that stands still makes no call wait. The calls that it misses are counted as lost.
func TestExporterThatStandsStill(t *testing.T) {
	const made = 2000
	h := newHost(t)
	serves := startResident(t, h.socket)
	cmd := start(t, exporter(h.args()...))
	h.awaits(t, "swiftcni_resident_up 1")
	version := call{plugin: "bridge", verb: "VERSION"}
	version.through(t, h.socket)
	h.awaits(t, `swiftcni_calls_total{code="0",plugin="bridge",verb="VERSION"} 1`)
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Signal(unix.SIGCONT) }()
	for range made / 2 {
		version.through(t, h.socket)
	}
	before := memory(t, serves.Process.Pid)
	for range made / 2 {
		version.through(t, h.socket)
	}
	if after := memory(t, serves.Process.Pid); after > before+2048 {
		t.Errorf("the resident takes %d KiB after %d calls, %d after %d", after, made, before, made/2)
	}
	if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	var counted, lost int
	until(t, "all calls are counted or lost", func() bool {
		counted, lost = 0, 0
		for line := range strings.Lines(h.scrape(t)) {
			_, _ = fmt.Sscanf(line, `swiftcni_calls_total{code="0",plugin="bridge",verb="VERSION"} %d`, &counted)
			_, _ = fmt.Sscanf(line, "swiftcni_events_lost_total %d", &lost)
		}
		return counted+lost == made+1
	})
	if lost == 0 || counted < 500 {
		t.Errorf("%d calls are counted and %d lost", counted, lost)
	}
}

// memory is a process's resident memory, in KiB.
func memory(t *testing.T, pid int) (kib int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &kib)
	}
	return kib
}

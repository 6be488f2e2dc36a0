// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/internal/resident"
)

// What callers choose makes no metrics without end.
func TestUnknownWordsAreOne(t *testing.T) {
	m := newMetrics(inventory{conf: "/nowhere", dataDir: "/nowhere"})
	for i, name := range []string{"a", "b", "c"} {
		m.event(&resident.Event{Plugin: name, Verb: name, Code: uint32(1000 + i), Steps: []resident.Step{{Name: name}}})
		m.event(&resident.Event{Plugin: "ptp", Verb: "DEL", Code: uint32(128 + i), Steps: []resident.Step{{Name: name}, {Name: "lease"}}})
	}
	m.event(&resident.Event{Reclaimed: 3})
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, f := range families {
		seen[f.GetName()] = len(f.GetMetric())
	}
	for name, want := range map[string]int{"swiftcni_calls_total": 2, "swiftcni_call_duration_seconds": 2, "swiftcni_step_duration_seconds": 1} {
		if seen[name] != want {
			t.Errorf("%d of %s, want %d", seen[name], name, want)
		}
	}
}

func TestListenIsForThisHost(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"0.0.0.0:0", "[::]:0", "192.0.2.1:9101", ":9101", "9101", "localhost:9101", "unix:metrics", "unix:", "unix:" + file, "unix:/nowhere/metrics"} {
		if l, err := listen(address); err == nil {
			l.Close()
			t.Errorf("%s is taken", address)
		}
	}
	for range 2 { // the second takes the first one's place
		l, err := listen("unix:" + file + "2")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if st, err := os.Stat(file + "2"); err != nil || st.Mode() != os.ModeSocket|0o600 {
			t.Error(st, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "kept" {
		t.Error("a file was replaced:", err)
	}
}

// A command line says what it lacks, and the manual page has each flag.
func TestFlags(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string // in what is printed
	}{
		{nil, "swiftcni-exporter: --listen says where Prometheus asks: unix:/PATH, or a loopback address and a port"},
		{[]string{"--listen", "127.0.0.1:0", "more"}, `unexpected argument "more"`},
		{[]string{"--metrics"}, "flag provided but not defined"},
		{[]string{"--help"}, "usage: swiftcni-exporter --listen ADDRESS"},
	} {
		var out bytes.Buffer
		if _, err := flags(test.args, &out); err == nil || !strings.Contains(out.String(), test.want) {
			t.Errorf("%q: %v\n%s", test.args, err, out.String())
		}
	}
	var out bytes.Buffer
	if o, err := flags([]string{"-listen", "unix:/m", "--otlp=http://h:1"}, &out); err != nil || o.listen != "unix:/m" || o.otlp != "http://h:1" || o.socket != "/run/swiftcni/resident" {
		t.Errorf("%+v %v %s", o, err, out.String())
	}
	page, err := os.ReadFile("../../docs/man/swiftcni-exporter.8")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = flags([]string{"--help"}, &out)
	for line := range strings.Lines(out.String()) {
		if name, is := strings.CutPrefix(line, "  -"); is {
			name, _, _ = strings.Cut(strings.TrimSpace(name), " ")
			if !strings.Contains(string(page), `\fB\-\-`+strings.ReplaceAll(name, "-", `\-`)+`\fR`) {
				t.Errorf("docs/man/swiftcni-exporter.8 lacks --%s", name)
			}
		}
	}
}

func TestRanges(t *testing.T) {
	addr := netip.MustParseAddr
	for _, test := range []struct {
		of   facts.Range
		name string
		size string
	}{
		{facts.Range{Subnet: netip.MustParsePrefix("10.1.0.0/24"), First: addr("10.1.0.1"), Last: addr("10.1.0.254"), Gateway: addr("10.1.0.1")}, "10.1.0.0/24", "253"},
		{facts.Range{Subnet: netip.MustParsePrefix("10.1.0.0/24"), First: addr("10.1.0.5"), Last: addr("10.1.0.5"), Gateway: addr("10.1.0.1")}, "10.1.0.5-10.1.0.5", "1"},
		{facts.Range{Subnet: netip.MustParsePrefix("fd00::/64"), First: addr("fd00::1"), Last: addr("fd00::ffff:ffff:ffff:ffff"), Gateway: addr("fd00::1")}, "fd00::/64", "18446744073709551614"},
	} {
		if name, size := rangeName(test.of), rangeSize(test.of).String(); name != test.name || size != test.size {
			t.Errorf("%s has %s, want %s with %s", name, size, test.name, test.size)
		}
	}
}

// Leases that no configuration's range has are counted, and a configuration that can't be read is told.
func TestInventory(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"leases/old/10.1.0.2": "", "leases/old/fd00::2": "", "leases/old/last_reserved_ip.0": "", "leases/old/lock": "", "leases/empty/lock": "",
		"leases/.swiftcni/old/x": "", "elsewhere/shop/10.99.1.1": "", "elsewhere/shop/10.99.1.7": "", "elsewhere/shop/10.98.1.7": "",
		"net.d/shop.conf": fmt.Sprintf(shop, dir+"/elsewhere"), "net.d/shop.conf.bak": "{", "net.d/wrong.conflist": "{",
	} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v := inventory{conf: dir + "/net.d", dataDir: dir + "/leases"}
	got, err := v.leases()
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[place]count{
		{"old", other}: {used: 2}, {"shop", other}: {used: 1}, {"shop", "10.99.1.0/24"}: {used: 2, taken: 1}, {"shop", "fd00:99::10-fd00:99::1f"}: {},
	} {
		if c := got[at]; c == nil || c.used != want.used || c.taken != want.taken || (c.size != nil) != (at.of != other) {
			t.Errorf("%v: %+v, want %+v", at, c, want)
		}
		delete(got, at)
	}
	if len(got) != 0 {
		t.Error("more than was made:", got)
	}
	if err := os.Mkdir(dir+"/net.d/a.conf", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := v.leases(); err == nil {
		t.Error("a configuration that can't be read isn't told")
	}
}

func TestSpanContext(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	c := spanContext(good)
	if !c.IsSampled() || !c.IsRemote() || c.TraceID().String() != good[3:35] || c.SpanID().String() != good[36:52] {
		t.Error(c)
	}
	for _, value := range []string{"", "x", good[:53] + "00", strings.ToUpper(good)} {
		if spanContext(value).IsSampled() {
			t.Errorf("%q is sampled", value)
		}
	}
}

// A collector that's busy is tried again, and another answer is an error at once.
func TestCollector(t *testing.T) {
	var asked atomic.Int32
	answers := []int{http.StatusServiceUnavailable, http.StatusOK}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(answers[min(int(asked.Add(1)), len(answers))-1])
	}))
	defer server.Close()
	c, err := newCollector(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.UploadTraces(t.Context(), nil); err != nil || asked.Load() != 2 {
		t.Error(err, asked.Load())
	}
	for _, status := range []int{http.StatusBadRequest, http.StatusFound} {
		asked.Store(0)
		answers = []int{status}
		if err := c.UploadTraces(t.Context(), nil); err == nil || asked.Load() != 1 {
			t.Error(status, err, asked.Load())
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := c.UploadTraces(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, url := range []string{"", "127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://", "http://a b"} {
		if _, err := newCollector(url); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
	if c, err := newCollector("https://tempo.example/otlp/v1/traces"); err != nil || c.url != "https://tempo.example/otlp/v1/traces" {
		t.Error(c, err)
	}
}

// Trouble is said once, until there's another. That nobody is there is none.
func TestTroubleIsSaidOnce(t *testing.T) {
	var out bytes.Buffer
	f := feed{path: "/run/resident", log: log.New(&out, "", 0)}
	for _, err := range []error{os.ErrNotExist, resident.ErrSentBack, resident.ErrSentBack, nil, errors.New("an event: unexpected end"), context.Canceled} {
		f.say(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Error(out.String())
	}
}

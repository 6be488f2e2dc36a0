// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/resident"
	"github.com/swiftcni/swiftcni/internal/roster"
)

// metrics are what Prometheus is told. Its labels are words of a fixed list, but for networks and
// ranges, which configurations have, and the residents' versions.
type metrics struct {
	registry  *prometheus.Registry
	calls     *prometheus.CounterVec
	took      *prometheus.HistogramVec
	steps     *prometheus.HistogramVec
	reclaimed prometheus.Counter
	lost      prometheus.Counter
	up        prometheus.Gauge
	info      *prometheus.GaugeVec
	spans     *prometheus.CounterVec

	mu       sync.Mutex
	versions map[string]int // of the residents that are followed, with their number
}

// Bounds of buckets, in seconds: a call takes some milliseconds, and an IPAM program or a lock may take
// many more.
var (
	callBuckets = []float64{.0005, .001, .002, .003, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10}
	stepBuckets = []float64{.00005, .0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1, .5, 1, 5}
)

func newMetrics(host inventory) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	exporter := gauge("swiftcni_exporter_info", "Always 1, with the exporter's version.", "version")
	exporter.WithLabelValues(cni.Version()).Set(1)
	up := gauge("swiftcni_resident_up", "1 while the resident tells of its calls, else 0.")
	reclaimed := counter("swiftcni_reclaimed_attachments_total", "Attachments that were provably dead, and whose leases the resident has ended.")
	lost := counter("swiftcni_events_lost_total", "Calls that aren't counted, since the exporter read too slowly.")
	m := &metrics{
		registry: prometheus.NewRegistry(),
		calls: counter("swiftcni_calls_total", "Calls that the resident has made. The code is 0 for success, else the specification's.",
			"plugin", "verb", "code"),
		took:      histogram("swiftcni_call_duration_seconds", "Time of a call, from its environment to its answer.", callBuckets, "plugin", "verb"),
		steps:     histogram("swiftcni_step_duration_seconds", "Time of a step of ADDs and DELs, as swiftctl explain --last names it.", stepBuckets, "verb", "step"),
		reclaimed: reclaimed.WithLabelValues(),
		lost:      lost.WithLabelValues(),
		up:        up.WithLabelValues(),
		info:      gauge("swiftcni_resident_info", "1 for each resident that tells of its calls, with its version.", "version"),
		spans:     counter("swiftcni_spans_total", "Spans of calls that have a trace: made, and sent to the collector or failed.", "result"),
		versions:  map[string]int{},
	}
	for _, result := range []string{spansMade, spansSent, spansFailed} {
		m.spans.WithLabelValues(result)
	}
	m.registry.MustRegister(exporter, up, reclaimed, lost, m.calls, m.took, m.steps, m.info, m.spans, host)
	return m
}

// The results of spans.
const (
	spansMade   = "made"
	spansSent   = "sent"
	spansFailed = "failed"
)

// event counts a call. Its words come from outside, so unknown ones are one.
func (m *metrics) event(e *resident.Event) {
	m.reclaimed.Add(float64(e.Reclaimed))
	verb := other
	switch e.Verb {
	case "":
		return // no call
	case "ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION":
		verb = e.Verb
	}
	plugin := other
	if roster.Has(e.Plugin) {
		plugin = e.Plugin
	}
	code := other // an IPAM plugin may have any
	if e.Code < 128 {
		code = strconv.Itoa(int(e.Code))
	}
	m.calls.WithLabelValues(plugin, verb, code).Inc()
	m.took.WithLabelValues(plugin, verb).Observe(e.Took.Seconds())
	if verb != "ADD" && verb != "DEL" {
		return
	}
	for _, s := range e.Steps {
		if known[s.Name] {
			m.steps.WithLabelValues(verb, s.Name).Observe(s.Took.Seconds())
		}
	}
}

const other = "other"

// began and ended note a resident that is followed.
func (m *metrics) began(version string) { m.count(version, 1) }
func (m *metrics) ended(version string) { m.count(version, -1) }

func (m *metrics) count(version string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.versions[version] += n; m.versions[version] == 0 {
		delete(m.versions, version)
		m.info.DeleteLabelValues(version)
	} else {
		m.info.WithLabelValues(version).Set(1)
	}
	if len(m.versions) > 0 {
		m.up.Set(1)
	} else {
		m.up.Set(0)
	}
}

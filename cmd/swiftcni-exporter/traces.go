// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"log"
	"sync"
	"time"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/resident"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// traces are the spans of calls whose runtime has named a trace, for a collector.
type traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	metrics  *metrics
}

// Bounds of what waits for the collector.
const (
	maxSpans  = 8192
	untilSent = 5 * time.Second // at the end
)

// newTraces returns what sends spans to a collector's URL.
func newTraces(ctx context.Context, url string, m *metrics, logger *log.Logger) (*traces, error) {
	client, err := newCollector(url)
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(&sayOnce{log: logger})
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(counted{exporter, m}, sdktrace.WithMaxQueueSize(maxSpans), sdktrace.WithBatchTimeout(time.Second)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "swiftcni"), attribute.String("service.version", cni.Version()))),
	)
	return &traces{provider, provider.Tracer("github.com/swiftcni/swiftcni"), m}, nil
}

// end sends the rest, if that takes no longer than a few seconds.
func (t *traces) end() {
	ctx, stop := context.WithTimeout(context.Background(), untilSent)
	defer stop()
	_ = t.provider.Shutdown(ctx) // the error handler has heard of it
}

// event makes the spans of a call that has a trace: its own, and one of each step.
func (t *traces) event(e *resident.Event) {
	parent := spanContext(e.TraceParent)
	if e.Verb == "" || !parent.IsSampled() {
		return
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), parent)
	ctx, span := t.tracer.Start(ctx, e.Verb+" "+e.Plugin, trace.WithTimestamp(e.Start), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("cni.verb", e.Verb), attribute.String("cni.plugin", e.Plugin), attribute.String("cni.network", e.Network),
		attribute.String("cni.container_id", e.ContainerID), attribute.String("cni.ifname", e.IfName), attribute.Int("cni.code", int(e.Code))))
	t.metrics.spans.WithLabelValues(spansMade).Add(float64(1 + len(e.Steps)))
	for _, s := range e.Steps {
		begin := e.Start.Add(s.Start)
		_, step := t.tracer.Start(ctx, spanName(s.Name), trace.WithTimestamp(begin))
		step.End(trace.WithTimestamp(begin.Add(s.Took)))
	}
	if e.Code != 0 {
		span.SetStatus(codes.Error, e.Message)
	}
	span.End(trace.WithTimestamp(e.Start.Add(e.Took)))
}

// spanName is a step's. The links of the host's side are a veth and its bridge.
func spanName(step string) string {
	if step == calls.Links.String() {
		return "veth"
	}
	return step
}

// spanContext reads a TRACEPARENT. One that's invalid isn't sampled.
func spanContext(parent string) trace.SpanContext {
	if parent = calls.TraceParent(parent); parent == "" {
		return trace.SpanContext{}
	}
	var c trace.SpanContextConfig
	flags, _ := hex.DecodeString(parent[53:])
	c.TraceID, _ = trace.TraceIDFromHex(parent[3:35])
	c.SpanID, _ = trace.SpanIDFromHex(parent[36:52])
	c.TraceFlags, c.Remote = trace.TraceFlags(flags[0])&trace.FlagsSampled, true
	return trace.NewSpanContext(c)
}

// counted counts the spans that an exporter has sent.
type counted struct {
	sdktrace.SpanExporter
	metrics *metrics
}

func (c counted) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	result := spansSent
	if err != nil {
		result = spansFailed
	}
	c.metrics.spans.WithLabelValues(result).Add(float64(len(spans)))
	return err
}

// sayOnce says an error that isn't the one before.
type sayOnce struct {
	log  *log.Logger
	mu   sync.Mutex
	said string
}

// Handle is of otel.ErrorHandler.
func (s *sayOnce) Handle(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text := err.Error(); text != s.said {
		s.said = text
		s.log.Print(text)
	}
}

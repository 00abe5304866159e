package request_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// h2c is a client that speaks HTTP/2 over plain TCP with prior knowledge.
func h2c(t testing.TB) *http.Client {
	t.Helper()
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &p}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// metrics returns every series as a line: name{label="value",…} and its value, of a histogram its count.
func (g *gateway) metrics(t testing.TB) string {
	t.Helper()
	families, err := g.reg.Gather()
	fatal(t, err)
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			fmt.Fprintf(&b, "%s{%s} %v\n", f.GetName(), strings.Join(labels, ","), m.GetCounter().GetValue()+m.GetGauge().GetValue()+float64(m.GetHistogram().GetSampleCount()))
		}
	}
	return b.String()
}

// node is a span with its children, in order of their start.
type node struct {
	id, name, kind, failed string
	attributes             map[string]string
	children               []*node
	span                   tracetest.SpanStub
}

// tree puts the spans of one trace together.
func tree(spans tracetest.SpanStubs) *node {
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	byID := map[trace.SpanID]*node{}
	for _, s := range spans {
		n := &node{id: s.SpanContext.TraceID().String(), name: s.Name, kind: s.SpanKind.String(), attributes: map[string]string{}, span: s}
		for _, kv := range s.Attributes {
			n.attributes[string(kv.Key)] = kv.Value.String()
		}
		if s.Status.Code == codes.Error {
			n.failed = s.Status.Description
		}
		byID[s.SpanContext.SpanID()] = n
	}
	var root *node
	for _, s := range spans {
		n := byID[s.SpanContext.SpanID()]
		if parent := byID[s.Parent.SpanID()]; parent != nil {
			parent.children = append(parent.children, n)
		} else {
			root = n
		}
	}
	return root
}

func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// String is the shape of the tree: server tools/call echo [internal auth, …].
func (n *node) String() string {
	if n == nil {
		return "nothing"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", n.kind, n.name)
	for i, c := range n.children {
		b.WriteString([]string{" [", ", "}[min(i, 1)] + c.String())
	}
	if len(n.children) > 0 {
		b.WriteString("]")
	}
	return b.String()
}

//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// span is one span as Jaeger's HTTP API tells it.
type span struct {
	SpanID        string
	OperationName string
	ProcessID     string
	StartTime     int64 // microseconds since 1970
	Duration      int64 // microseconds
	References    []struct{ RefType, SpanID string }
	Tags          []struct {
		Key   string
		Value any
	}
	Logs []struct {
		Fields []struct {
			Key   string
			Value any
		}
	}
	service string
}

func (s span) tag(key string) string {
	for _, x := range s.Tags {
		if x.Key == key {
			return fmt.Sprint(x.Value)
		}
	}
	return ""
}

func (s span) events() []string {
	out := []string{}
	for _, l := range s.Logs {
		for _, f := range l.Fields {
			if f.Key == "event" {
				out = append(out, fmt.Sprint(f.Value))
			}
		}
	}
	return out
}

// tree is a wanted span with the spans that must hang below it. Further spans may be there too.
type tree struct {
	service string // service.name
	name    string // regular expression of the whole operation name
	kind    string // span.kind; internal when empty
	tags    map[string]string
	events  []string // in this order, with others between
	below   []tree
}

// match returns nil when the spans hold the tree with its root directly below parent; "" is a span without a parent in the trace.
func (w tree) match(spans []span, parent string) error {
	var nearest error
	for _, s := range spans {
		if s.service != w.service || !regexp.MustCompile("^(?:"+w.name+")$").MatchString(s.OperationName) || !childOf(spans, s, parent) {
			continue
		}
		err := w.fits(spans, s)
		if err == nil {
			return nil
		}
		nearest = errors.Join(nearest, err)
	}
	if nearest == nil {
		nearest = fmt.Errorf("no span %s of %s below %q", w.name, w.service, parent)
	}
	return nearest
}

func (w tree) fits(spans []span, s span) error {
	kind := w.kind
	if kind == "" {
		kind = "internal"
	}
	if got := s.tag("span.kind"); got != kind {
		return fmt.Errorf("%s is of kind %q, want %q", s.OperationName, got, kind)
	}
	for k, v := range w.tags {
		if got := s.tag(k); !regexp.MustCompile("^(?:" + v + ")$").MatchString(got) {
			return fmt.Errorf("%s has %s=%q, want %s", s.OperationName, k, got, v)
		}
	}
	rest := s.events()
	for _, e := range w.events {
		at := slices.Index(rest, e)
		if at < 0 {
			return fmt.Errorf("%s has events %v, want %v in this order", s.OperationName, s.events(), w.events)
		}
		rest = rest[at+1:]
	}
	for _, c := range w.below {
		if err := c.match(spans, s.SpanID); err != nil {
			return err
		}
	}
	return nil
}

func childOf(spans []span, s span, parent string) bool {
	for _, r := range s.References {
		if r.RefType != "CHILD_OF" {
			continue
		}
		if parent != "" {
			return r.SpanID == parent
		}
		if slices.ContainsFunc(spans, func(o span) bool { return o.SpanID == r.SpanID }) {
			return false
		}
	}
	return parent == ""
}

// draw shows the spans as an indented tree.
func draw(spans []span, parent string, depth int) string {
	var b strings.Builder
	for _, s := range spans {
		if !childOf(spans, s, parent) {
			continue
		}
		fmt.Fprintf(&b, "%s%s %s [%s]", strings.Repeat("   ", depth), strings.ToUpper(s.tag("span.kind")), s.OperationName, s.service)
		if e := s.events(); len(e) > 0 {
			fmt.Fprintf(&b, " %s", strings.Join(e, ", "))
		}
		if e := s.tag("error.type"); e != "" {
			fmt.Fprintf(&b, " error.type=%s", e)
		}
		b.WriteString("\n" + draw(spans, s.SpanID, depth+1))
	}
	return b.String()
}

package process

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/hopgate/hopgate/proto/attr"
)

// humanHandler writes lines for people, without colours:
//
//	07:22:00 - HOPGATE:WARNING: follow: control plane unreachable error="connection refused" retry=2s
//
// Control characters never reach the output, so a line is always one line.
type humanHandler struct {
	out   *lockedWriter
	level slog.Level

	component string
	attrs     []byte // " key=value" of With, ready to write
	group     string // "outer.inner." of WithGroup
}

// lockedWriter lets handlers made from one another share an output, line by line.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// Enabled implements slog.Handler.
func (h *humanHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// Handle implements slog.Handler.
func (h *humanHandler) Handle(_ context.Context, r slog.Record) error {
	b := make([]byte, 0, 256)
	if !r.Time.IsZero() {
		b = r.Time.AppendFormat(b, time.TimeOnly)
		b = append(b, " - "...)
	}
	b = append(b, "HOPGATE:"...)
	b = append(b, levelWord(r.Level)...)
	b = append(b, ": "...)
	if h.component != "" {
		b = appendClean(b, h.component)
		b = append(b, ": "...)
	}
	b = appendClean(b, r.Message)
	b = append(b, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, h.group, a)
		return true
	})
	_, err := h.out.Write(append(b, '\n'))
	return err
}

// WithAttrs implements slog.Handler.
func (h *humanHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.attrs = append(make([]byte, 0, len(h.attrs)+64), h.attrs...)
	for _, a := range attrs {
		if a.Key == attr.LogComponent && h.group == "" {
			n.component = a.Value.Resolve().String()
			continue
		}
		n.attrs = appendAttr(n.attrs, h.group, a)
	}
	return &n
}

// WithGroup implements slog.Handler.
func (h *humanHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	n := *h
	n.group += name + "."
	return &n
}

func levelWord(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "ERROR"
	case l >= slog.LevelWarn:
		return "WARNING"
	case l >= slog.LevelInfo:
		return "INFO"
	}
	return "DEBUG"
}

func appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			b = appendAttr(b, prefix, inner)
		}
		return b
	}
	if a.Key == "" {
		return b
	}
	b = append(b, ' ')
	b = appendClean(b, prefix)
	b = appendClean(b, a.Key)
	b = append(b, '=')
	return appendText(b, valueText(v))
}

func valueText(v slog.Value) string {
	if v.Kind() == slog.KindTime {
		return v.Time().Format(time.RFC3339Nano)
	}
	return v.String()
}

// appendText appends a value, in quotes unless it can't be misread without.
func appendText(b []byte, s string) []byte {
	for _, c := range s {
		if c <= ' ' || c == '"' || c == '\\' || c == '=' || !strconv.IsPrint(c) {
			return strconv.AppendQuote(b, s)
		}
	}
	if s == "" {
		return append(b, `""`...)
	}
	return append(b, s...)
}

// appendClean appends text with everything unprintable turned into spaces.
func appendClean(b []byte, s string) []byte {
	for _, c := range s {
		if !strconv.IsPrint(c) {
			c = ' '
		}
		b = append(b, string(c)...)
	}
	return b
}

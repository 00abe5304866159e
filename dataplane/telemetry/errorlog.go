package telemetry

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/http"

	"github.com/hopgate/hopgate/proto/fault"
)

const (
	errorsPerSecond = 10  // lines per (server, hop, phase, kind)
	maxCause        = 400 // bytes of a cause
)

// errorLog writes one line per failed hop.
type errorLog struct {
	log   *slog.Logger
	json  bool
	limit *limiter
}

func newErrorLog(log *slog.Logger, json bool) *errorLog {
	return &errorLog{log: log, json: json, limit: newLimiter(errorsPerSecond)}
}

func (e *errorLog) write(r *Record) {
	ok, suppressed := e.limit.allow(keyOf(r), r.End)
	level := severity(r)
	if !ok || !e.log.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
	msg := "hop failed"
	if e.json {
		attrs = e.appendPlace(attrs, r)
	} else {
		msg = sentence(r)
	}
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, cut(value, maxText)))
		}
	}
	add("server", r.Server)
	add("caller", r.Caller)
	add("client", r.ClientAddr)
	if !r.leg { // its request is still to be answered
		attrs = append(attrs, slog.Int("status", r.Status))
	}
	attrs = append(attrs, slog.Duration("after", r.End.Sub(r.Start)))
	if r.UpstreamStatus != 0 {
		attrs = append(attrs, slog.Int("upstream_status", r.UpstreamStatus))
	}
	add("trace_id", hex.EncodeToString(r.IDs.Trace[:]))
	add("doc", r.Fault.Doc())
	if suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", suppressed))
	}
	e.log.LogAttrs(context.Background(), level, msg, attrs...)
}

// severity is error for what an operator has to mend, warn for what the caller has to, info for callers who left, and for probes of an era that
// a server doesn't speak: that is how clients find out.
func severity(r *Record) slog.Level {
	f := r.Fault
	switch {
	case r.Method == "server/discover" && (f.Kind == fault.Unsupported || f.Remote && r.UpstreamStatus == http.StatusBadRequest):
		return slog.LevelInfo
	case f.Hop == fault.Client && f.Kind == fault.Reset:
		return slog.LevelInfo
	case f.Hop == fault.Client, f.Hop == fault.Gateway && f.Phase == fault.Route:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// appendPlace adds what the human sentence says in words.
func (e *errorLog) appendPlace(attrs []slog.Attr, r *Record) []slog.Attr {
	f := r.Fault
	attrs = append(attrs, slog.String("hop", f.Hop.String()), slog.String("phase", f.Phase.String()), slog.String("kind", f.Kind.String()),
		slog.Bool("remote", f.Remote), slog.String("method", cut(subject(r), maxText)), slog.String("cause", cause(f)))
	if r.Tool != "" {
		attrs = append(attrs, slog.String("tool", cut(r.Tool, maxText)))
	}
	if r.UpstreamOrigin != "" && f.Hop == fault.Upstream {
		attrs = append(attrs, slog.String("url", r.UpstreamOrigin), slog.String("transport", transportOf(r)))
	}
	return attrs
}

// sentence tells the failure to people, for example
//
//	upstream/connect/refused - tools/list failed - Server: http://localhost:3001, Transport: streamable_http: connection refused
func sentence(r *Record) string {
	f := r.Fault
	b := make([]byte, 0, 256)
	b = append(b, f.Hop.String()...)
	b = append(b, '/')
	b = append(b, f.Phase.String()...)
	b = append(b, '/')
	b = append(b, f.Kind.String()...)
	b = append(b, " - "...)
	b = append(b, oneLine(subject(r), maxText)...)
	if r.Tool != "" {
		b = append(b, ' ')
		b = append(b, oneLine(r.Tool, maxText)...)
	}
	b = append(b, " failed"...)
	if r.UpstreamOrigin != "" && f.Hop == fault.Upstream {
		b = append(b, " - Server: "...)
		b = append(b, r.UpstreamOrigin...)
		b = append(b, ", Transport: "...)
		b = append(b, transportOf(r)...)
	}
	b = append(b, ": "...)
	return string(append(b, cause(f)...))
}

// subject is what was asked for: the MCP method, or the HTTP request when none was read.
func subject(r *Record) string {
	if r.Method != "" {
		return r.Method
	}
	return r.HTTPMethod + " " + r.Path
}

func transportOf(r *Record) string {
	if r.Transport == "" {
		return "streamable_http"
	}
	return r.Transport
}

// cause is the innermost thing known, in one line. What is wrong with a credential is in the message.
func cause(f *fault.Error) string {
	if f.Err != nil && (f.Hop != fault.Client || f.Phase != fault.Auth) {
		return oneLine(f.Err.Error(), maxCause)
	}
	return oneLine(f.Message, maxCause)
}

// oneLine makes s fit into a line: control characters become spaces, and it ends after n bytes.
func oneLine(s string, n int) string {
	s = cut(s, n)
	b := make([]rune, 0, len(s))
	for _, c := range s {
		if c < ' ' || c == 0x7f || (c >= 0x80 && c < 0xa0) || c == '\u2028' || c == '\u2029' {
			c = ' '
		}
		b = append(b, c)
	}
	return string(b)
}

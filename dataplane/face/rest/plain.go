package rest

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// plain turns faults, which are JSON-RPC errors, into the form that this face has. Everything else passes.
type plain struct {
	reply.Sink
	word string      // for detail.error; empty: found in the fault
	of   http.Header // of the MCP answer this one is made of, for its diagnostics; nil: none

	status int    // of an answer that is held back; 0: none is
	body   []byte // of it
}

func (p *plain) WriteHeader(status int) {
	if status < http.StatusBadRequest {
		p.diagnose()
		p.Sink.WriteHeader(status)
		return
	}
	p.status = status
}

// diagnose puts what the MCP request was found to do in the place of what this one did, which is next to nothing. It is there for callers only
// who asked for it and may see it.
func (p *plain) diagnose() {
	h := p.Header()
	for name, values := range p.of {
		if strings.HasPrefix(name, "X-Mcp-Debug-") || name == "Server-Timing" {
			h[name] = values
		}
	}
}

func (p *plain) Write(b []byte) (int, error) {
	if p.status == 0 {
		return p.Sink.Write(b)
	}
	p.body = append(p.body, b...)
	return len(b), nil
}

func (p *plain) Flush() error {
	if p.status == 0 {
		return p.Sink.Flush()
	}
	return nil
}

// finish sends what was held back.
func (p *plain) finish() {
	if p.status == 0 {
		return
	}
	h := p.Header()
	e := parse(p.body)
	word := p.word
	if word == "" {
		word = wordOf(strings.Join(h["X-Hopgate-Error"], ""))
	}
	out := appendQuoted([]byte(`{"detail":{"error":`), word)
	out = appendQuoted(append(out, `,"message":`...), e.message)
	if e.data != nil {
		out = append(append(out, `,"data":`...), e.data...)
	}
	out = append(out, "}}"...)
	h["Content-Type"], h["Content-Length"] = reply.JSON(), []string{strconv.Itoa(len(out))}
	p.diagnose()
	p.Sink.WriteHeader(p.status)
	p.Sink.Write(out) //nolint:errcheck // the caller is gone or not; there is nobody else to tell
}

// wordOf is the word for a fault by its header.
func wordOf(fault string) string {
	switch {
	case strings.Contains(fault, "phase=route") && strings.Contains(fault, "kind=not_found"):
		return "server_not_found"
	case strings.Contains(fault, "kind=denied"):
		return "access_denied"
	}
	if _, kind, ok := strings.Cut(fault, "kind="); ok {
		kind, _, _ = strings.Cut(kind, ";")
		return kind
	}
	return "error"
}

// parsed is a JSON-RPC error.
type parsed struct {
	code, message string
	data          []byte // raw; nil: none
}

// parse reads a JSON-RPC error; what can't be read says so.
func parse(body []byte) parsed {
	p := parsed{message: "the request failed"}
	var e message.Envelope
	if message.Scan(body, message.MaxDepth, &e) != nil {
		return p
	}
	d := jsontext.NewDecoder(strings.NewReader(string(e.Error.Of(body))))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return p
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return p
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return p
		}
		switch key {
		case "code":
			p.code = string(value)
		case "message":
			p.message = unquoted(value)
		case "data":
			p.data = value.Clone()
		}
	}
	return p
}

func unquoted(v jsontext.Value) string {
	b, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return ""
	}
	return string(b)
}

func appendQuoted(dst []byte, s string) []byte {
	out, err := jsontext.AppendQuote(dst, strings.ToValidUTF8(s, "\uFFFD"))
	if err != nil {
		return append(dst, `""`...)
	}
	return out
}

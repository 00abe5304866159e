package rest

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

// mostNamed is how many servers a sentence names; all are in the outcomes.
const mostNamed = 8

// outcome is what came of one server's part in a list.
type outcome struct {
	server, status, cause string
	raw                   []byte
}

// failed reports whether something of the server is missing. What counts further servers has no status.
func (o *outcome) failed() bool { return o.status != "ok" && o.status != "" }

// outcomes are those of all pages, in the order in which servers were first told. A server that failed on one page has failed.
type outcomes struct {
	all []outcome
	bad int
}

// take takes over what an answer of the gateway tells.
func (c *outcomes) take(answer []byte) {
	raw := message.At(answer, "result", "_meta", "hopgate.dev/outcomes")
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return
		}
		o := outcome{server: name.String()}
		value, err := d.ReadValue()
		if err != nil {
			return
		}
		o.raw = bytes.Clone(value)
		o.status, o.cause = textAt(o.raw, "status"), textAt(o.raw, "error")
		c.add(o)
	}
}

func textAt(raw []byte, name string) string {
	if v := jsontext.Value(message.At(raw, name)); len(v) > 0 && v.Kind() == '"' {
		return unquoted(v)
	}
	return ""
}

func (c *outcomes) add(o outcome) {
	i := slices.IndexFunc(c.all, func(known outcome) bool { return known.server == o.server })
	if i < 0 {
		c.all, i = append(c.all, outcome{server: o.server, raw: o.raw}), len(c.all)
	}
	if c.all[i].failed() {
		return
	}
	if c.all[i] = o; o.failed() {
		c.bad++
	}
}

// nothing reports whether there were servers, and none of them told its tools.
func (c *outcomes) nothing() bool {
	return c.bad > 0 && !slices.ContainsFunc(c.all, func(o outcome) bool { return !o.failed() })
}

// appendEnd appends what stands behind the tools.
func (c *outcomes) appendEnd(out []byte) []byte {
	if c.bad == 0 {
		return append(out, `,"error":null,"message":"Successfully retrieved tools"}`...)
	}
	out = append(out, `,"error":"partial_failure","message":`...)
	out = appendQuoted(out, "the tools of "+strconv.Itoa(c.bad)+" of "+strconv.Itoa(len(c.all))+" servers are missing: "+c.causes())
	return append(c.append(append(out, `,"outcomes":`...)), '}')
}

// refusal is the answer when every server failed: with the first one's cause, and a status that holds for all of them.
func (c *outcomes) refusal() *refusal {
	r := &refusal{status: http.StatusBadGateway, header: http.Header{}}
	first := &c.all[0]
	if !slices.ContainsFunc(c.all, func(o outcome) bool { return o.status != first.status }) {
		switch first.status {
		case "timeout":
			r.status = http.StatusGatewayTimeout
		case "circuit_open":
			r.status = http.StatusServiceUnavailable
		}
	}
	cause := first.cause
	if cause == "" {
		cause = "hop=upstream; phase=protocol; kind=unavailable"
	}
	r.header["X-Hopgate-Error"] = []string{cause + "; server=" + first.server}
	r.body = appendQuoted([]byte(`{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":`), "none of the servers told its tools: "+c.causes())
	r.body = append(c.append(append(r.body, `,"data":{"outcomes":`...)), "}}}"...)
	return r
}

// causes names servers that failed, and why.
func (c *outcomes) causes() string {
	var text []byte
	n := 0
	for i := range c.all {
		o := &c.all[i]
		if !o.failed() {
			continue
		}
		if n++; n > mostNamed {
			continue
		}
		if n > 1 {
			text = append(text, ", "...)
		}
		text = append(append(append(text, o.server...), ": "...), o.status...)
		if o.cause != "" {
			text = append(append(append(text, " ("...), o.cause...), ')')
		}
	}
	if n > mostNamed {
		text = append(text, " and "+strconv.Itoa(n-mostNamed)+" more"...)
	}
	return string(text)
}

func (c *outcomes) append(out []byte) []byte {
	out = append(out, '{')
	for i := range c.all {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendQuoted(out, c.all[i].server), ':')
		out = append(out, c.all[i].raw...)
	}
	return append(out, '}')
}

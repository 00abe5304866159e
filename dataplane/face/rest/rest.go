// Package rest is a plain face of tools for curl and scripts: GET /mcp-rest/tools/list and POST /mcp-rest/tools/call, in the shapes that
// LiteLLM has.
//
// It promises that each is an MCP request to the endpoint of the server or the aggregate, made without a session and served by the same stages,
// that tools and results are told byte for byte, that a tool listed is called by the name and the server_id it was listed with, and that what is
// missing from a list is told (error: "partial_failure", outcomes per server). Errors have an HTTP status, {"detail": {"error": word, "message":
// sentence}} and the same headers as on MCP's paths. It refuses bodies that could be read in two ways.
package rest

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/proto/fault"
)

// Face serves the REST paths. Safe for concurrent use.
type Face struct{ handler *request.Handler }

// New returns a face whose MCP requests handler serves.
func New(handler *request.Handler) *Face { return &Face{handler} }

// visit is one REST request under way.
type visit struct {
	*request.Visit
	handler *request.Handler
	in      *request.Inbound
	out     *plain
	left    atomic.Int64 // bytes that answers may still take
	vague   bool         // why a server can't be reached isn't for each caller to know, nor its name
	narrow  bool         // x-mcp-servers says something
}

// List serves GET /mcp-rest/tools/list: of a server, toolset or group (server_id: its name, or a server's uid), of some (mcp_server_name, repeated),
// or of all.
func (f *Face) List(in *request.Inbound, sink reply.Sink) { f.serve(in, sink, (*visit).list) }

// Call serves POST /mcp-rest/tools/call: {"server_id", "name", "arguments"}.
func (f *Face) Call(in *request.Inbound, sink reply.Sink) { f.serve(in, sink, (*visit).call) }

func (f *Face) serve(in *request.Inbound, sink reply.Sink, do func(v *visit) error) {
	out := &plain{Sink: sink}
	defer out.finish()
	f.handler.Admit(in, out, func(admitted *request.Visit) error {
		v := &visit{Visit: admitted, handler: f.handler, in: in, out: out}
		v.left.Store(admitted.Table().Settings().Result)
		err := do(v)
		var r *refusal
		if errors.As(err, &r) {
			v.pass(r)
			return nil
		}
		return err
	})
}

// refusal is an MCP answer that isn't a result.
type refusal struct {
	status int
	word   string // for detail.error; empty: found in the fault
	header http.Header
	body   []byte // a JSON-RPC error
}

func (r *refusal) Error() string { return "refused with " + strconv.Itoa(r.status) }

// pass tells the caller of a refusal, with the headers that say more of it.
func (v *visit) pass(r *refusal) {
	for _, name := range [...]string{"X-Hopgate-Error", "Www-Authenticate", "Retry-After"} {
		if values := r.header[name]; len(values) > 0 {
			v.Header()[name] = values
		}
	}
	v.out.word = r.word
	v.Answer(r.status, reply.JSON(), r.body)
}

// ask makes one MCP request and gives its answer to use. An answer that is none is a refusal. server is whom the request is for, if it is for one.
func (v *visit) ask(path, server string, body []byte, use func(answer []byte) error) error {
	in := *v.in
	in.Method, in.Path, in.Query, in.Body, in.Length = http.MethodPost, path, "", bytes.NewReader(body), int64(len(body))
	in.Context, in.Header = v.Context(), v.in.Header.Clone()
	for name := range in.Header {
		if strings.HasPrefix(name, "Mcp-") || strings.HasPrefix(name, "Content-") || name == "Last-Event-Id" {
			delete(in.Header, name)
		}
	}
	in.Header["Content-Type"], in.Header["Accept"] = []string{"application/json"}, []string{"application/json"}
	c := v.handler.Capture(&v.left)
	defer c.Release()
	v.handler.Serve(&in, c)
	answer := c.Answer([]byte("1"))
	if v.out.of == nil {
		v.out.of = c.Header()
	}
	if c.Status() == http.StatusOK && !message.IsError(answer) {
		return use(answer)
	}
	v.out.of = c.Header()
	r := &refusal{status: c.Status(), header: c.Header(), body: bytes.Clone(answer)}
	if v.vague && r.status == http.StatusNotFound && strings.Contains(strings.Join(r.header["X-Hopgate-Error"], ""), "phase=route") {
		v.out.of = nil
		return v.unknown()
	}
	if r.status < http.StatusBadRequest { // the server's own word
		r.own(server, parse(answer).code)
	}
	return r
}

// own makes the refusal that of a server which answered with a JSON-RPC error.
func (r *refusal) own(server, code string) {
	r.status, r.word = http.StatusBadGateway, "upstream_error"
	f := fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Refused, Remote: true, Server: server}
	switch code {
	case "-32601":
		f.Kind = fault.Unsupported
		fallthrough
	case "-32602":
		r.status, r.word = http.StatusBadRequest, wordInvalid
	}
	if len(r.header["X-Hopgate-Error"]) == 0 { // else the gateway said it
		r.header["X-Hopgate-Error"] = []string{f.Header()}
	}
}

// wordInvalid is detail.error for a request that can't be done as it is.
const wordInvalid = "invalid_request"

// refuse is the answer to a request that can't be read.
func (v *visit) refuse(f *fault.Error) error {
	if v.out.word = wordInvalid; errors.Is(f.Err, errMissing) {
		v.out.word = "missing_parameter"
	}
	return f
}

func (v *visit) unknown() error {
	f := &fault.Error{Hop: fault.Client, Phase: fault.Route, Kind: fault.NotFound, Status: http.StatusNotFound,
		Message: "there is no such server, or it isn't open to this caller", Hint: "server_id is a server's name or uid; /mcp-rest/tools/list tells them"}
	if v.narrow {
		f.Message = "there is no such server, or it isn't open to this caller, or x-mcp-servers leaves it out"
		f.Hint = "name the server in x-mcp-servers, or leave the header out"
	}
	return f
}

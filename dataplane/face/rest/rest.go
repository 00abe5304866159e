// Package rest is a plain face of tools for curl and scripts: GET /mcp-rest/tools/list and POST /mcp-rest/tools/call, in the shapes that
// LiteLLM has.
//
// It promises that each is an MCP request to the endpoint of the server or the aggregate, made without a session and served by the same stages,
// and that tools and results are told byte for byte. Errors have an HTTP status, {"detail": {"error": word, "message": sentence}} and the same
// headers as on MCP's paths.
package rest

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/table"
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
	byUID   bool         // the server was found by its uid: its name isn't for each caller to know
}

// List serves GET /mcp-rest/tools/list: of one server (server_id: its name or uid), of some (mcp_server_name, repeated), or of all.
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

// path is the MCP endpoint of a server by its name or uid; "" when there can't be one.
func (v *visit) path(id string) string {
	if _, ok := v.Table().Server(id); !ok && isUID(id) {
		v.byUID, id = true, nameOf(v.Table(), id)
	}
	if path := "/" + id + "/mcp"; endpoint.Parse(path).Kind == endpoint.Server {
		return path
	}
	return ""
}

// isUID reports whether an id may be a uid. What is neither a name nor a uid may be another name of a server.
func isUID(id string) bool { return strings.Count(id, "-") >= 4 }

// nameOf finds a server by its uid.
func nameOf(t *table.Table, id string) string {
	for s := range t.Servers() {
		if s.UID == id {
			return s.Name
		}
	}
	return id
}

// ask makes one MCP request and gives its answer to use. An answer that is none is a refusal.
func (v *visit) ask(path string, body []byte, use func(answer []byte) error) error {
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
	if c.Status() == http.StatusOK && !message.IsError(answer) {
		return use(answer)
	}
	r := &refusal{status: c.Status(), header: c.Header(), body: bytes.Clone(answer)}
	if v.byUID && r.status == http.StatusNotFound && strings.Contains(strings.Join(r.header["X-Hopgate-Error"], ""), "phase=route") {
		return v.unknown()
	}
	if r.status < http.StatusBadRequest { // the server's own word
		r.status, r.word = http.StatusBadGateway, "upstream_error"
		if code := parse(answer).code; code == "-32602" || code == "-32601" {
			r.status, r.word = http.StatusBadRequest, "invalid_request"
		}
	}
	return r
}

func (v *visit) refuse(word string, f *fault.Error) error {
	v.out.word = word
	return f
}

func (v *visit) missing(field, where string) error {
	return v.refuse("missing_parameter", &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Status: http.StatusBadRequest,
		Message: field + " is required in " + where})
}

func (v *visit) unknown() error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Route, Kind: fault.NotFound, Status: http.StatusNotFound,
		Message: "there is no such server, or it isn't open to this caller", Hint: "server_id is a server's name or uid; /mcp-rest/tools/list tells them"}
}

// asked reads the query; values that can't be read are none.
func asked(query string) (one string, some []string) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", nil
	}
	return values.Get("server_id"), values["mcp_server_name"]
}

package rest

import (
	"errors"
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/names"
)

func (v *visit) call() error {
	if v.in.Method != http.MethodPost {
		return v.WrongMethod(http.MethodPost)
	}
	body, release, err := v.Body()
	if err != nil {
		return err
	}
	defer release()
	w, bad := readWish(body)
	if bad != nil {
		return v.refuse(bad)
	}
	p, err := v.place(w.server)
	if err != nil {
		return err
	}
	if server, _, cut, ok := names.Split(w.tool); ok && cut && p.server != "" && server == p.server && !v.has(&p, w.tool) {
		p = place{path: "/mcp"} // only there is a name known that was cut to fit
	}
	return v.do(&p, &w)
}

// do makes the call.
func (v *visit) do(p *place, w *wish) error {
	body := appendQuoted([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":`), w.tool)
	body = append(append(body, `,"arguments":`...), w.arguments...)
	server, _ := v.owner(p, w.tool)
	err := v.ask(p.path, server, append(body, "}}"...), func(answer []byte) error {
		var e message.Envelope
		if err := message.Scan(answer, message.MaxDepth, &e); err != nil || !e.Result.Present() {
			return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Malformed, Server: server,
				Message: "the server's answer can't be read", Err: err}
		}
		v.Answer(http.StatusOK, reply.JSON(), e.Result.Of(answer))
		return nil
	})
	var r *refusal
	if errors.As(err, &r) && r.word == wordInvalid && !v.has(p, w.tool) {
		r.status, r.word = http.StatusForbidden, "tool_server_mismatch"
	}
	return err
}

// has reports whether an endpoint shows a tool, or doesn't tell. It leaves no trace in the diagnostics of the call.
func (v *visit) has(p *place, tool string) (found bool) {
	defer func(of http.Header) { v.out.of = of }(v.out.of)
	err := v.tools(p, func(item *message.Item) { found = found || item.Name == tool }, nil)
	return found || err != nil
}

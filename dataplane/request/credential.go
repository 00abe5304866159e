package request

import (
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/proto/fault"
)

// leaks looks for gateway credentials among the values of the caller's choice that the protocol carries in headers. Bodies are the
// caller's own words and are not searched.
func (h *Handler) leaks(x *exchange) error {
	for i := range x.call.Params {
		if h.cfg.Gate.Holds(x.table, x.call.Params[i].Value) {
			return leak(x, x.call.Params[i].Name)
		}
	}
	for _, f := range [...]hop.Field{{Name: "Last-Event-ID", Value: x.call.LastEventID}, {Name: "Mcp-Name", Value: x.call.MCPName},
		{Name: "tracestate", Value: x.call.Tracestate}} {
		if f.Value != "" && h.cfg.Gate.Holds(x.table, f.Value) {
			return leak(x, f.Name)
		}
	}
	return nil
}

// bind attaches what the server wants of us.
func (h *Handler) bind(x *exchange) error {
	if x.server.Plain {
		return nil
	}
	x.rec.Credential.Start = time.Now()
	x.ask = credential.Ask{Table: x.table, Server: x.server, Principal: x.principal, Header: x.in.Header, Subject: x.admission.Token,
		Expires: x.admission.Expires, Single: !x.several, Holds: func(v string) bool { return h.cfg.Gate.Holds(x.table, v) }}
	bound, err := h.cfg.Credentials.Resolve(x.ctx, &x.ask)
	x.rec.Credential.End = time.Now()
	x.reply.Resolution, x.reply.Token = bound.Resolution, bound.Shown
	if err != nil {
		return x.named(err)
	}
	x.call.Credential = bound.Fields
	return nil
}

// disbelieved lets go of a token that the server doesn't take any more.
func (h *Handler) disbelieved(x *exchange, status int) {
	if status == http.StatusUnauthorized && x.ask.Server != nil {
		h.cfg.Credentials.Refused(&x.ask)
	}
}

// leak refuses to send somebody's gateway credential to an upstream.
func leak(x *exchange, header string) error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Policy, Kind: fault.CredentialLeak, Server: x.rec.Server,
		Message: "the header " + header + " holds a gateway credential, which is never sent to an upstream",
		Hint:    "take the key out of it; the gateway reads it from x-litellm-api-key, x-hopgate-api-key or Authorization only"}
}

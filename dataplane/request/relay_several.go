package request

import (
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/request/several"
)

// What one of several servers says is given the names of the endpoint before it goes out: URIs are wrapped, ids of its own requests sealed with
// the way back, ids of events sealed with the place they resume.

// dressed reports whether answers have to be dressed.
func (x *exchange) dressed() bool { return x.several && x.server != nil }

// relayDressed brings a JSON answer with its URIs wrapped.
func (h *Handler) relayDressed(x *exchange, a *hop.Answer) error {
	if err := h.readWhole(x, a); err != nil {
		return x.named(err)
	}
	own := x.own(x.ans)
	if len(own) == 0 {
		return a.NotMCP(x.server.Name, x.ans)
	}
	x.ans = own
	out, changed, err := message.WrapURIs(x.data[:0], x.ans, x.wrap)
	if err != nil {
		return x.named(err)
	}
	if changed {
		x.ans, x.data = out, x.ans[:0]
	}
	return h.relayWhole(x, a)
}

// tailor makes the event in x.ans what this caller may see of it, in the endpoint's names.
func (x *exchange) tailor() error {
	if err := x.sieveEvent(); err != nil {
		return err
	}
	if !x.dressed() {
		return nil
	}
	return x.dress()
}

// dress rewrites the event in x.ans, which came from the server that is called. A stream of a session that ends with its call isn't resumed.
func (x *exchange) dress() error {
	names := several.Names{Table: x.table, Principal: x.principal.ID, Door: x.door}
	from := session.Upstream{Server: x.server.Name, Instance: x.call.Instance, ID: x.call.Session, Revision: x.call.Revision}
	e := several.Event{Raw: x.ans, Data: x.data, Spare: x.worn}
	err := names.Dress(&e, &from, nil, !x.alone)
	x.ans, x.data, x.worn = e.Raw, e.Data, e.Spare
	return err
}

// tailorLasting makes the event in x.ans of a long-lived stream what this caller may see of it. Servers bring answers of all kinds again on
// streams that are resumed, lists among them.
func (x *exchange) tailorLasting() error {
	if !x.several {
		return x.sieveEvent()
	}
	m, ok := x.scope.Member(x.server.Name)
	x.data, _ = message.Data(x.data[:0], x.ans)
	if !ok && message.IsResponse(x.data) {
		return revoked(x)
	}
	e := several.Event{Raw: x.ans, Data: x.data, Spare: x.worn}
	err := e.Show(&x.scope, &m)
	x.ans, x.data, x.worn = e.Raw, e.Data, e.Spare
	if err != nil {
		return err
	}
	return x.dress()
}

// own is an answer that came instead of a stream, as several.Own has it where there are several servers.
func (x *exchange) own(answer []byte) []byte {
	if !x.dressed() {
		return answer
	}
	return several.Own(answer, x.id())
}

// mine reports whether a message of several servers' is the answer to the caller's request, or an error that names none.
func (x *exchange) mine(answer []byte) bool { return several.AnswersTo(answer, x.id()) }

package request

import (
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/names"
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
	return x.dress(x.server.Name, x.call.Instance, x.call.Session, x.call.Revision, nil)
}

// dress rewrites the event in x.ans, which came from a server. others are the places at which the streams of other servers resume.
func (x *exchange) dress(server string, instance uint32, upstream, revision string, others []session.Position) error {
	id := string(message.ID(x.ans))
	var ok bool
	if x.data, ok = message.Data(x.data[:0], x.ans); ok {
		if err := x.dressMessage(server, instance, upstream, revision); err != nil {
			return err
		}
	}
	if id == "" {
		return nil
	}
	sealed, err := session.SealEvents(x.table.Ring("session"), positions(others, server, id), x.principal.ID, x.door.Canonical(), time.Now())
	if f := fault.As(err); f != nil && f.Kind == fault.TooLarge || x.alone {
		sealed, err = "", nil // the stream goes on; only here it can't be resumed, nor in a session that ends with its call
	}
	if err != nil {
		return err
	}
	x.worn = message.SetEventID(x.worn[:0], x.ans, sealed)
	x.ans, x.worn = x.worn, x.ans
	return nil
}

// dressMessage rewrites the message in x.data and puts it into the event.
func (x *exchange) dressMessage(server string, instance uint32, upstream, revision string) error {
	seal := func(raw []byte) ([]byte, error) {
		token, err := session.SealAsked(x.table.Ring("session"), session.Asked{Server: server, Instance: instance, Session: upstream,
			Revision: revision, ID: raw}, x.principal.ID, x.door.Canonical(), time.Now())
		return []byte(`"` + token + `"`), err
	}
	out, changed := x.worn[:0], true
	var err error
	raw, _, asks := message.IsServerRequest(x.data)
	switch {
	case asks:
		out, err = dressAsked(out, x.data, raw, server, seal)
	case message.Method(x.data) == "notifications/cancelled":
		out, changed, err = message.ReplaceCancelled(out, x.data, seal)
	default:
		out, changed, err = message.WrapURIs(out, x.data, func(uri string) string { return names.WrapURI(server, uri) })
	}
	if err != nil {
		return nameFault(err, server)
	}
	if !changed {
		return nil
	}
	x.data, x.worn = out, x.data
	x.worn = message.SetEventData(x.worn[:0], x.ans, x.data)
	x.ans, x.worn = x.worn, x.ans
	return nil
}

// dressAsked appends a server's request with the way back in its id, and its progress token marked as that server's.
func dressAsked(dst, data, raw []byte, server string, seal func(raw []byte) ([]byte, error)) ([]byte, error) {
	id, err := seal(raw)
	if err != nil {
		return dst, err
	}
	if marked, changed := message.WrapProgress(nil, data, server); changed {
		data = marked
	}
	out, ok := message.ReplaceID(dst, data, id)
	if !ok {
		return dst, &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Malformed, Server: server,
			Message: "the server " + server + " sent a request that can't be read", Hint: "look at the server's own log"}
	}
	return out, nil
}

// positions are the others' with that of one server renewed.
func positions(others []session.Position, server, id string) []session.Position {
	for i := range others {
		if others[i].Server == server {
			others[i].ID = id
			return others
		}
	}
	return append(others, session.Position{Server: server, ID: id})
}

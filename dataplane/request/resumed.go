package request

import (
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/fault"
)

// What an event of several servers' streams resumes: one place is the stream of one server, mostly that of a call's answer, and goes on as it
// would on that server's own endpoint; the merged stream names all its servers, those without event ids, too, so that all are heard again.

// ofOne tells whose stream is resumed, when it is that of one server of which the caller holds a session.
func (x *exchange) ofOne(resume []session.Position) (m route.Member, ok bool) {
	if len(resume) != 1 || resume[0].ID == "" {
		return m, false
	}
	u, live := upstreamOf(&x.many, resume[0].Server)
	if !live || u.ID == "" {
		return m, false
	}
	return x.scope.Member(resume[0].Server)
}

// resumeOne goes on with the stream of one server. It ends where the server ends it.
func (h *Handler) resumeOne(x *exchange, m *route.Member, id string) error {
	if err := h.direct(x, m); err != nil {
		return err
	}
	x.hears = append(x.hears, *m)
	x.call.LastEventID = id
	h.trace(x)
	return h.lasting(x)
}

// tailorLasting makes the event in x.ans of a long-lived stream what this caller may see of it. Servers bring answers of all kinds again on
// streams that are resumed, lists among them.
func (x *exchange) tailorLasting() error {
	if !x.several {
		return x.sieveEvent()
	}
	x.data, _ = message.Data(x.data[:0], x.ans)
	if err := x.sieveMerged(x.server.Name); err != nil {
		return err
	}
	return x.dress(x.server.Name, x.call.Instance, x.call.Session, x.call.Revision, nil)
}

// placesOf are the places at which the streams begin; "" is a stream's present.
func placesOf(legs []*streamLeg) []session.Position {
	places := make([]session.Position, len(legs))
	for i, l := range legs {
		places[i] = session.Position{Server: l.member.Server.Name, ID: l.call.LastEventID}
	}
	return places
}

// followed is a stream that notes how far it came, so that the next one goes on there when it is opened again.
type followed struct {
	gather.Events
	call *hop.Call
}

// NextEvent is that of gather.Events.
func (f *followed) NextEvent(dst []byte, limit int64) ([]byte, error) {
	begin := len(dst)
	out, err := f.Events.NextEvent(dst, limit)
	if err == nil {
		if id := message.ID(out[begin:]); len(id) > 0 {
			f.call.LastEventID = string(id)
		}
	}
	if known := fault.As(err); known != nil && known.Kind == fault.TooLarge {
		f.call.LastEventID = "" // it would come again and again
	}
	return out, err
}

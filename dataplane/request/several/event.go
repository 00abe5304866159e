package several

import (
	"time"

	"github.com/hopgate/hopgate/dataplane/request/endpoint"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/names"
)

// Names gives what one of several servers says the names of the endpoint before it goes out: URIs are wrapped, ids of its own requests sealed
// with the way back, ids of events sealed with the place they resume.
type Names struct {
	Table     *table.Table
	Principal string // the id of who hears it
	Door      endpoint.Endpoint
}

// Event is one event on its way to a caller, with the buffers in which it is written anew.
type Event struct {
	Raw   []byte // the event
	Data  []byte // its message
	Spare []byte
}

// Dress rewrites an event that came from a server in a session. others are the places at which the streams of other servers resume. Unless it is
// resumable the event loses its id.
func (n *Names) Dress(e *Event, from *session.Upstream, others []session.Position, resumable bool) error {
	id := string(message.ID(e.Raw))
	var ok bool
	if e.Data, ok = message.Data(e.Data[:0], e.Raw); ok {
		if err := n.dressMessage(e, from); err != nil {
			return err
		}
	}
	if id == "" {
		return nil
	}
	sealed, err := session.SealEvents(n.Table.Ring("session"), positions(others, from.Server, id), n.Principal, n.Door.Canonical(), time.Now())
	if f := fault.As(err); f != nil && f.Kind == fault.TooLarge || !resumable {
		sealed, err = "", nil // the stream goes on; only here it can't be resumed, nor in a session that ends with its call
	}
	if err != nil {
		return err
	}
	e.Spare = message.SetEventID(e.Spare[:0], e.Raw, sealed)
	e.Raw, e.Spare = e.Spare, e.Raw
	return nil
}

// dressMessage rewrites the message in e.Data and puts it into the event.
func (n *Names) dressMessage(e *Event, from *session.Upstream) error {
	server := from.Server
	seal := func(raw []byte) ([]byte, error) {
		token, err := session.SealAsked(n.Table.Ring("session"), session.Asked{Server: server, Instance: from.Instance, Session: from.ID,
			Revision: from.Revision, ID: raw}, n.Principal, n.Door.Canonical(), time.Now())
		return []byte(`"` + token + `"`), err
	}
	out, changed := e.Spare[:0], true
	var err error
	raw, _, asks := message.IsServerRequest(e.Data)
	switch {
	case asks:
		out, err = dressAsked(out, e.Data, raw, server, seal)
	case message.Method(e.Data) == "notifications/cancelled":
		out, changed, err = message.ReplaceCancelled(out, e.Data, seal)
	default:
		out, changed, err = message.WrapURIs(out, e.Data, func(uri string) string { return names.WrapURI(server, uri) })
	}
	if err != nil {
		return hop.OfServer(err, server)
	}
	if !changed {
		return nil
	}
	e.Data, e.Spare = out, e.Data
	e.Spare = message.SetEventData(e.Spare[:0], e.Raw, e.Data)
	e.Raw, e.Spare = e.Spare, e.Raw
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

// plain leaves of the event what it says, which is in e.Data, and the place at which its stream resumes. Its kind and the time after which to
// connect again are for one server to say, and the stream is of several. ok is false when nothing is left.
func (e *Event) plain() (ok bool) {
	id := string(message.ID(e.Raw))
	e.Spare = e.Spare[:0]
	if id != "" {
		e.Spare = append(append(append(e.Spare, "id: "...), id...), '\n')
	}
	if len(e.Data) > 0 {
		e.Spare = message.AppendEvent(e.Spare, e.Data)
	} else {
		e.Spare = append(e.Spare, '\n')
	}
	e.Raw, e.Spare = e.Spare, e.Raw
	return id != "" || len(e.Data) > 0
}

// shed lets go of what isn't needed while a stream waits, which may be for hours.
func (e *Event) shed() { e.Raw, e.Data, e.Spare = scant(e.Raw), scant(e.Data), scant(e.Spare) }

// scant is a buffer for small things, or none.
func scant(b []byte) []byte {
	if cap(b) > 1<<10 {
		return nil
	}
	return b[:0]
}

// Show cuts what is closed to the caller out of a list that a stream of a server brings again. Its message is in e.Data.
func (e *Event) Show(scope *route.Scope, m *route.Member) error {
	if !message.IsResponse(e.Data) {
		return nil
	}
	out, changed, err := message.EditEvent(e.Spare[:0], e.Raw, func(tool string) (message.View, bool) {
		v, open := scope.Show(m, tool)
		return message.View{Name: v.Name, Description: v.Description, Parameters: v.Parameters}, open
	})
	if changed && err == nil {
		e.Raw, e.Spare = out, e.Raw
	}
	return hop.OfServer(err, m.Server.Name)
}

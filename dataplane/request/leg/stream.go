package leg

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// Stream is a leg that listens to what a server says. One goroutine opens it and reads it.
type Stream struct {
	*Leg
	// Tried is told what came of each attempt to open the stream; nil: nobody wants to know. Set before the first Open.
	Tried func(first bool, err error)

	parent telemetry.Record // in place of the request's, which goes on without it
	stands bool             // it was opened, and its end hasn't been told
	again  bool             // it was tried
}

// Stream prepares a stream of a member on behalf of r. It is opened, told of and finished by itself, as often as it takes.
func (m *Maker) Stream(r *Request, of *route.Member, mcp string) *Stream {
	l := &Stream{Leg: m.New(r, of), parent: apart(r.Record)}
	l.Call.Stream, l.rec.Method, l.Call.MCPMethod = true, mcp, mcp
	if mcp == "" {
		l.Call.Method = http.MethodGet
	}
	return l
}

// Open opens the stream, as gather.Funnel wants it.
func (l *Stream) Open(ctx context.Context) (gather.Events, error) {
	var e gather.Events
	err := l.told(func(r *telemetry.Record) (err error) {
		l.Call.Traceparent = string(telemetry.AppendTraceparent(nil, &r.IDs, r.Sampled))
		e, err = l.connect(ctx)
		return err
	})
	l.stands = err == nil
	if l.Tried != nil {
		l.Tried(!l.again, err)
	}
	l.again = true
	return e, err
}

// told makes what do did a leg of its own, under the opening of the merged stream, whose own record is told of already.
func (l *Stream) told(do func(r *telemetry.Record) error) error {
	t, parent, r := l.m.cfg.Telemetry, l.parent, &l.rec
	r.Fault, r.Outcome, r.Start, r.End = nil, "", time.Now(), time.Time{}
	r.Upstream, r.Credential, r.UpstreamStatus, r.Attempts = telemetry.Timing{}, telemetry.Span{}, 0, 0
	t.BeginLeg(&parent, r)
	err := do(r)
	if f := fault.As(err); f != nil {
		r.Fault = f
	}
	t.FinishLeg(&parent, r)
	t.ExportLegs(&parent)
	return err
}

func (l *Stream) connect(ctx context.Context) (gather.Events, error) {
	if err := l.Prepare(ctx); err != nil {
		return nil, err
	}
	a, err := l.m.cfg.Hop.Send(ctx, &l.Call, &l.rec)
	if err != nil {
		return nil, err
	}
	switch {
	case a.Status/100 == 2 && a.Type == transport.SSE:
		return &followed{Events: a.Body, call: &l.Call}, nil
	case a.Status/100 == 2:
		a.Close()
		return nil, errors.ErrUnsupported
	}
	defer a.Close()
	if l.Call.Method == http.MethodGet && a.Status == http.StatusMethodNotAllowed { // so servers say that they have none
		return nil, errors.ErrUnsupported
	}
	l.disbelieved(a.Status)
	return nil, a.Refused(nil, l.Member.Server.Name, l.Call.Session != "").Fault
}

// Broke tells of the end of a stream that stood. That it couldn't be opened is told already.
func (l *Stream) Broke(err error) {
	if !l.stands || errors.Is(err, io.EOF) {
		return
	}
	l.stands = false
	if fault.As(err) == nil {
		l.m.cfg.Log.Error("a server's stream broke without a named cause", "server", l.Member.Server.Name, "error", err)
		return
	}
	l.told(func(*telemetry.Record) error { return hop.OfServer(err, l.Member.Server.Name) }) //nolint:errcheck // it is err
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

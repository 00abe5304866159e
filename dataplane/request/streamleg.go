package request

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// firstWait is how long a merged stream waits for those of servers that keep state in sessions, before it begins.
const firstWait = 2 * time.Second

// streamLeg is one server's stream of a merged one. Its funnel's goroutine uses it.
type streamLeg struct {
	*leg
	parent telemetry.Record  // in place of the caller's, which goes on without it
	part   message.Listen    // of what is listened to, in the server's own names
	tried  chan struct{}     // closed behind the first attempt to open
	bereft func(cause error) // ends the merged stream; nil: nothing of the server's ends it
	stands bool              // it was opened, and its end hasn't been told
	once   bool              // tried is closed
}

func (h *Handler) newStreamLeg(x *exchange, m *route.Member) *streamLeg {
	r := &x.rec
	l := &streamLeg{leg: h.newLeg(x, m), tried: make(chan struct{}), parent: telemetry.Record{IDs: r.IDs, Sampled: r.Sampled, Debug: r.Debug, State: r.State,
		HTTPMethod: r.HTTPMethod, Path: r.Path, ClientAddr: r.ClientAddr, Caller: r.Caller, EndUser: r.EndUser, Session: r.Session,
		ConfigRevision: r.ConfigRevision}}
	l.call.Stream = true
	return l
}

// listen opens the stream.
func (l *streamLeg) listen(ctx context.Context) (gather.Events, error) {
	var e gather.Events
	err := l.told(func(r *telemetry.Record) (err error) {
		l.call.Traceparent = string(telemetry.AppendTraceparent(nil, &r.IDs, r.Sampled))
		e, err = l.connect(ctx)
		return err
	})
	l.stands = err == nil
	if lost(err) {
		l.mourn()
	}
	if !l.once {
		l.once = true
		close(l.tried)
	}
	return e, err
}

// told makes what do did a leg of its own, under the opening of the merged stream, whose own record is told of already.
func (l *streamLeg) told(do func(r *telemetry.Record) error) error {
	t, parent, r := l.h.cfg.Telemetry, l.parent, &l.rec
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

func (l *streamLeg) connect(ctx context.Context) (gather.Events, error) {
	if err := l.prepare(ctx); err != nil {
		return nil, err
	}
	a, err := l.h.cfg.Hop.Send(ctx, &l.call, &l.rec)
	if err != nil {
		return nil, err
	}
	switch {
	case a.Status/100 == 2 && a.Type == transport.SSE:
		return &followed{Events: a.Body, call: &l.call}, nil
	case a.Status/100 == 2:
		a.Close()
		return nil, errors.ErrUnsupported
	}
	defer a.Close()
	if l.call.Method == http.MethodGet && a.Status == http.StatusMethodNotAllowed { // so servers say that they have none
		return nil, errors.ErrUnsupported
	}
	l.disbelieved(a.Status)
	return nil, a.Refused(nil, l.member.Server.Name, l.call.Session != "").Fault
}

// mourn is what becomes of a merged stream when a server doesn't know the caller's session any more: it ends when that can't be done without, so
// that the client comes back and is told; otherwise it goes on with the streams of the others.
func (l *streamLeg) mourn() {
	name := l.member.Server.Name
	if l.bereft == nil {
		return
	}
	if l.member.Server.NeedsSession {
		l.bereft(bereft(name))
		return
	}
	l.h.cfg.Log.Info("a merged stream goes on without a server that doesn't know its session any more", "server", name)
}

// broke tells of the end of a stream that stood. That it couldn't be opened is told already.
func (l *streamLeg) broke(err error) {
	if !l.stands || errors.Is(err, io.EOF) {
		return
	}
	l.stands = false
	if fault.As(err) == nil {
		l.h.cfg.Log.Error("a server's stream broke without a named cause", "server", l.member.Server.Name, "error", err)
		return
	}
	l.told(func(*telemetry.Record) error { return nameFault(err, l.member.Server.Name) }) //nolint:errcheck // it is err
}

// bereft is the server whose lost session ends a merged stream.
type bereft string

// Error makes it a cause for a context to end.
func (b bereft) Error() string {
	return "the server " + string(b) + " has lost a session that is needed"
}

// bereaved tells which lost session has ended a context, if one has.
func bereaved(ctx context.Context) (server string, ok bool) {
	var b bereft
	ok = errors.As(context.Cause(ctx), &b)
	return string(b), ok
}

// ended reports whether a lost session has ended a merged stream.
func ended(ctx context.Context) bool {
	_, ok := bereaved(ctx)
	return ok
}

// opener opens a stream, as gather.Funnel wants it.
type opener = func(ctx context.Context) (gather.Events, error)

// pour lets the streams of all legs run into one.
func (h *Handler) pour(ctx context.Context, x *exchange, legs []*streamLeg, open func(l *streamLeg) opener) *gather.Funnel {
	f := gather.NewFunnel(ctx)
	f.EventLimit = x.table.Settings().Event
	f.Failed = func(server string, err error) {
		for _, l := range legs {
			if l.member.Server.Name == server { // this is its goroutine
				l.broke(err)
			}
		}
	}
	for _, l := range legs {
		f.Add(l.member.Server.Name, open(l))
	}
	return f
}

// whole waits for the first answers of the servers that keep state in sessions: when one of them has lost the caller's, all of it is lost.
func whole(ctx context.Context, legs []*streamLeg) error {
	patience := time.NewTimer(firstWait)
	defer patience.Stop()
	for _, l := range legs {
		if !l.member.Server.NeedsSession {
			continue
		}
		select {
		case <-l.tried:
		case <-patience.C:
			return nil
		case <-ctx.Done():
		}
		if server, ok := bereaved(ctx); ok {
			return without(server)
		}
	}
	return nil
}

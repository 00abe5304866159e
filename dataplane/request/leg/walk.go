package leg

import (
	"context"
	"crypto/rand"
	"sync"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// source fetches a server's lists for the catalogue. Its goroutine is the catalogue's, which may go on when the request has ended.
type source struct {
	seed                 Leg // as it was made; copied for watches
	leg                  *Leg
	capabilities, client []byte
	ready                bool

	mu   sync.Mutex
	rec  telemetry.Record // as of the last exchange; guarded by mu
	lost bool             // the server has lost the caller's session; guarded by mu
}

// Page fetches one page. Where the server has lost the caller's session the list is had in one of its own, unless that server keeps state in
// sessions: others may be waiting for it.
func (s *source) Page(ctx context.Context, kind catalogue.Kind, cursor string) ([]byte, error) {
	data, err := s.page(ctx, kind, cursor)
	if l := s.leg; l.live && !l.own && hop.SessionLost(err) && !l.Member.Server.NeedsSession {
		l.live, l.Call.Instance, s.ready = false, 0, false
		s.mu.Lock()
		s.lost = true
		s.mu.Unlock()
		data, err = s.page(ctx, kind, cursor)
	}
	if err != nil {
		return nil, s.leg.late(err)
	}
	return data, nil
}

func (s *source) page(ctx context.Context, kind catalogue.Kind, cursor string) ([]byte, error) {
	if !s.ready {
		if err := s.begin(ctx); err != nil {
			return nil, err
		}
	}
	l := s.leg
	l.rec.Method = kind.Method()
	l.Call.Repeatable = true
	if l.era == message.Modern {
		l.Call.MCPMethod = kind.Method()
	}
	// No other request has this id in the session, which may be the caller's own.
	body := message.AppendAsk(nil, message.Ask{ID: "hopgate-" + rand.Text(), Method: kind.Method(), Cursor: cursor, Revision: l.Call.Revision,
		Capabilities: s.capabilities, ClientInfo: s.client, Traceparent: l.Call.Traceparent})
	data, _, err := l.Answer(ctx, body)
	s.note()
	return data, err
}

// begin finds the way to the server: the caller's own session of it, or one for this walk.
func (s *source) begin(ctx context.Context) error {
	l := s.leg
	err := l.Prepare(ctx)
	if err == nil && l.era == message.Legacy && !l.live {
		if _, err = l.Open(ctx, s.capabilities, s.client); err == nil {
			err = l.Initialized(ctx)
		}
	}
	s.note()
	s.ready = err == nil
	return err
}

// Close ends what begin began. The catalogue calls it when the walk is over.
func (s *source) Close() error {
	s.leg.Close(context.Background())
	return nil
}

// TellsChanges reports whether the server tells of changes of a kind, and can be listened to. While nobody knows, it may.
func (s *source) TellsChanges(kind catalogue.Kind) bool {
	return s.leg.m.announced.tells(s.leg.Member.Server, kind)
}

// note keeps what the last exchange measured.
func (s *source) note() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rec = s.leg.rec
}

// settle copies what was measured so far into the record of the leg that waited. lost: the walk found the caller's session gone.
func (s *source) settle(to *telemetry.Record) (lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.rec.Start.IsZero() {
		to.Upstream, to.UpstreamStatus, to.Attempts, to.Credential = s.rec.Upstream, s.rec.UpstreamStatus, s.rec.Attempts, s.rec.Credential
	}
	return s.lost
}

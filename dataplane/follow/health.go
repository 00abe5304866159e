package follow

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

const (
	// healthEvery is how often health is reported while there is something to tell, healthRest while there isn't: ten thousand data planes that
	// have nothing to say would keep a control plane busy with it. Failed calls leave after healthSoon: whether a change goes on depends on them.
	healthEvery, healthRest, healthSoon = 10 * time.Second, 2 * time.Minute, 1500 * time.Millisecond
	// partWithin is how long the farewell at the end may take.
	partWithin = 500 * time.Millisecond
)

// untilMark returns how long it is to the next time for a report: when the wall clock's seconds since 1970 leave a rest of second when divided by
// healthEvery, and begin. A control plane so gets the reports of an idle fleet in bunches, one each second, and isn't woken up for every one.
func untilMark(now time.Time, second int) time.Duration {
	at := now.Truncate(healthEvery).Add(time.Duration(second) * time.Second)
	for !at.After(now) {
		at = at.Add(healthEvery)
	}
	return at.Sub(now)
}

// health is what there is to report.
func (s *session) health() *syncv1.Health {
	h := s.f.cfg.Health()
	if h == nil {
		h = &syncv1.Health{}
	}
	v := s.f.cfg.Table.Load().Version()
	h.Revision, h.Digest = v.Revision, v.Digest[:]
	return h
}

// sendHealth reports health. Unless it is to be told now, nothing new is reported every two minutes only.
func (s *session) sendHealth(now bool) error {
	h := s.health()
	if !now && len(h.GetUpstreams())+len(h.GetCalls()) == 0 && proto.Equal(h, s.told) && time.Since(s.toldAt) < healthRest-healthEvery/2 {
		return nil
	}
	s.told, s.toldAt = h, time.Now()
	return s.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Health{Health: h}})
}

// sendFailures reports health before its time when calls to a server failed.
func (s *session) sendFailures() error {
	if !s.welcomed || time.Since(s.toldAt) < healthSoon || !s.f.cfg.Failing() {
		return nil
	}
	return s.sendHealth(true)
}

// part says that this data plane stops, so that nobody takes it for crashed, and waits until that was heard.
func (s *session) part(ctx context.Context) *ending {
	if s.welcomed {
		h := proto.CloneOf(s.health())
		h.Draining = true
		if s.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Health{Health: h}}) == nil && s.stream.CloseSend() == nil {
			return s.failed(ctx)
		}
	}
	return &ending{err: context.Cause(s.over)}
}

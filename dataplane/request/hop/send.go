package hop

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/balance"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// Pauses before a call is tried again.
const (
	backoffLeast = 50 * time.Millisecond
	backoffMost  = 250 * time.Millisecond
)

// sending is one Send under way.
type sending struct {
	hop  *Hop
	ctx  context.Context
	call *Call
	rec  *telemetry.Record
	view *balance.Server
	to   *table.Target // in place of that of the instance, at the same address; nil: none
	req  transport.Request

	began time.Time     // the first attempt
	avoid *table.Target // the last attempt failed there
	last  error         // why
}

// Send makes the exchange and returns when the head of the answer is there, whatever its status. c and what it holds are not kept. Errors
// are *fault.Error, or the end of ctx.
//
// A call is tried again, as often as the server's config says, when not a byte of it left; one that is Repeatable also when the connection
// broke or time ran out before the head of the answer, and after 502, 503 and 504 that no MCP server wrote.
func (h *Hop) Send(ctx context.Context, c *Call, rec *telemetry.Record) (Answer, error) {
	if err := c.attachable(); err != nil {
		return Answer{}, err
	}
	if c.Server.Target == nil && len(c.Server.Instances) == 0 {
		return Answer{}, nowhere(c.Server.Name)
	}
	if c.Server.Transport == "sse" {
		return h.sendOverStream(ctx, c, rec)
	}
	view := h.balance.Of(c.Server)
	limited := !c.Stream && view.Limited()
	if limited {
		if err := view.Enter(ctx, c.Instance, c.Principal); err != nil {
			return Answer{}, err
		}
	}
	buf := h.fields.Get().(*[]byte)
	defer h.fields.Put(buf)
	*buf = h.appendFields((*buf)[:0], c)
	s := sending{hop: h, ctx: ctx, call: c, rec: rec, view: view, req: transport.Request{
		Method: c.Method, Fields: *buf, Body: c.Body, Timeouts: c.Server.Timeouts, Stream: c.Stream,
		ResultLimit: c.Settings.Result, EventLimit: c.Settings.Event,
	}}
	before := rec.Upstream
	a, lease, err := s.attempts()
	if rec.Attempts > 1 && !s.began.IsZero() {
		rec.Upstream.Start = s.began
	}
	keepDial(&rec.Upstream, &before)
	if err != nil {
		if limited {
			view.Exit()
		}
		return Answer{}, named(err, c.Server.Name)
	}
	rec.UpstreamStatus, c.Instance = a.Status, lease.Target.ID
	if limited || !c.Stream && view.Several() {
		a.Body = &held{Body: a.Body, lease: lease, view: view, limited: limited}
	} else {
		lease.Release()
	}
	return a, nil
}

// attempts makes the exchange until it succeeds or mustn't be made again. The lease of the successful one is still to be released.
func (s *sending) attempts() (Answer, balance.Lease, error) {
	for n := 1; ; n++ {
		s.rec.Attempts = n
		lease, err := s.view.Pick(s.call.Instance, s.avoid)
		if err != nil {
			s.rec.Attempts--
			if s.last != nil { // it tells more
				err = s.last
			}
			return Answer{}, lease, err
		}
		a, err := s.attempt(&lease, n)
		if err == nil {
			return a, lease, nil
		}
		lease.Release()
		if errors.Is(err, errAnew) {
			err = nil
		}
		if again, stop := s.pause(n, err); !again {
			return Answer{}, lease, stop
		}
		s.avoid, s.last = lease.Target, err
	}
}

// errAnew says that an answer was thrown away: no server wrote it, and the call may run again.
var errAnew = errors.New("hop: again")

// attempt makes the exchange once.
func (s *sending) attempt(lease *balance.Lease, n int) (Answer, error) {
	to := lease.Target
	if s.to != nil {
		to = s.to
	}
	res, err := s.hop.client.Do(s.ctx, to, &s.req, &s.rec.Upstream)
	if n == 1 {
		s.began = s.rec.Upstream.Start
	}
	if err != nil {
		lease.Blame(err)
	}
	lease.Judge(s.verdict(err), s.rec.Upstream.Start, s.rec.Upstream.Headers)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Status: res.Status, Header: res.Header, Type: res.ContentType(), Body: res}
	if s.call.Repeatable && gatewayStatus(a.Status) && s.room(n, backoffMost) && a.foreign() {
		a.Close()
		return Answer{}, errAnew
	}
	return a, nil
}

// verdict is what an exchange showed about its instance. Only failures to connect, or to get the head of an answer, speak against it. When a
// list's deadline cuts the wait for the head, that does, too, unless others had used up more than half of the time.
func (s *sending) verdict(err error) balance.Verdict {
	if err == nil {
		return balance.Alive
	}
	f := fault.As(err)
	if f == nil {
		took := s.rec.Upstream.End.Sub(s.rec.Upstream.Start)
		if s.call.Repeatable && errors.Is(err, context.DeadlineExceeded) && 2*took >= s.call.Server.Timeouts.List {
			return balance.Silent
		}
		return balance.Nothing
	}
	if f.Hop != fault.Upstream || f.Kind == fault.Exhausted { // no socket is left here
		return balance.Nothing
	}
	switch f.Phase {
	case fault.DNS, fault.Connect, fault.TLS:
		return balance.Failed
	case fault.Headers:
		if f.Kind == fault.Reset || f.Kind == fault.TimedOut {
			return balance.Silent
		}
	}
	return balance.Nothing
}

// repeats reports whether the failed call may be made again without a chance that it runs twice against its maker's will.
func (s *sending) repeats(err error) bool {
	f := fault.As(err)
	switch {
	case err == nil: // an answer was thrown away for that
		return true
	case f == nil || f.Hop != fault.Upstream:
		return false
	case transport.Unsent(err):
		return true
	}
	return s.call.Repeatable && (f.Phase == fault.TLS || f.Phase == fault.Headers && (f.Kind == fault.Reset || f.Kind == fault.TimedOut))
}

// room reports whether another attempt fits behind attempt n and a pause: into the number of attempts, the total limit and the caller's time.
func (s *sending) room(n int, pause time.Duration) bool {
	if n > s.call.Server.Resilience.Retries || s.ctx.Err() != nil {
		return false
	}
	now := time.Now()
	if end, ok := s.ctx.Deadline(); ok && end.Before(now.Add(pause)) {
		return false
	}
	total := s.call.Server.Timeouts.Total
	return s.call.Stream || total <= 0 || now.Add(pause).Sub(s.began) < total
}

// pause waits before the next attempt, if there may be one; otherwise it returns the error that stands.
func (s *sending) pause(n int, err error) (again bool, stop error) {
	wait := backoff(n)
	if n == 1 && s.view.Several() && transport.Unsent(err) && s.call.Instance == 0 {
		wait = 0 // another instance has no trouble yet
	}
	if !s.repeats(err) || err != nil && !s.room(n, wait) {
		return false, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
		return false, s.ctx.Err()
	}
	if total := s.call.Server.Timeouts.Total; total > 0 {
		s.req.Timeouts.Total = max(total-time.Since(s.began), time.Millisecond)
	}
	return true, nil
}

// backoff is a pause of chance, longer with each attempt.
func backoff(n int) time.Duration {
	most := min(backoffLeast<<min(n, 8), backoffMost)
	return backoffLeast + rand.N(most-backoffLeast+1)
}

func nowhere(server string) *fault.Error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Request, Kind: fault.Internal, Status: http.StatusInternalServerError, Server: server,
		Message: "the gateway made a call without an address", Hint: "this is a defect of the gateway: report it with the trace id"}
}

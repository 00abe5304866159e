package credential

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

const (
	failureLife = time.Second      // how long a failure is the answer to everyone, so that a broken token endpoint isn't hammered
	retryPause  = 5 * time.Second  // between two attempts to renew a token that still lives
	refusedLife = 10 * time.Second // between two tokens dropped because the upstream refused them
	logPause    = time.Minute      // between two log lines about one token
)

// token is one access token. It is immutable.
type token struct {
	value string // of the Authorization header
	// fetched is when it was asked for. It is renewed ahead from renew on, replaced from fresh on, and used at the latest until end.
	fetched, renew, fresh, end time.Time
}

func (t *token) lives(now time.Time) bool { return t != nil && now.Before(t.end) }

// flight is one request to the token endpoint, for everybody who waits. value and fault are set before done is closed.
type flight struct {
	done  chan struct{}
	value string
	fault *fault.Error
}

// entry is the place of one token. Reading a fresh one takes no lock.
type entry struct {
	key    key           // read-only, as server and secret
	server *table.Server // one that the key is of
	secret *table.Secret
	token  atomic.Pointer[token]
	used   atomic.Int64 // unix seconds

	mu      sync.Mutex
	flight  *flight      // guarded by mu; nil: none
	failure *fault.Error // guarded by mu; of the last attempt, nil: it went well
	failed  time.Time    // guarded by mu; when
	logged  time.Time    // guarded by mu
	dropped time.Time    // guarded by mu
}

// value returns the token, fetched by one of those who ask for it at the same time.
func (e *entry) value(ctx context.Context, now func() time.Time, fetch func(context.Context) (*token, *fault.Error)) (string, error) {
	at := now()
	touch(&e.used, at)
	if t := e.token.Load(); t != nil && at.Before(t.fresh) {
		return t.value, nil
	}
	value, f, lead, err := e.join(at)
	switch {
	case err != nil || f == nil:
		return value, err
	case lead:
		// Others wait for it, too: it goes on when this caller leaves.
		e.fly(context.WithoutCancel(ctx), f, now, fetch)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if f.fault != nil {
		return "", f.fault
	}
	return f.value, nil
}

// join returns what there is without waiting, or the flight to wait for; lead: to be flown by this caller.
func (e *entry) join(now time.Time) (value string, f *flight, lead bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.token.Load()
	switch {
	case t != nil && now.Before(t.fresh):
		return t.value, nil, false, nil
	case t.lives(now) && (e.flight != nil || e.failure != nil && now.Sub(e.failed) < retryPause):
		return t.value, nil, false, nil
	case e.flight != nil:
		return "", e.flight, false, nil
	case e.failure != nil && now.Sub(e.failed) < failureLife:
		return "", nil, false, e.failure
	}
	e.flight = &flight{done: make(chan struct{})}
	return "", e.flight, true, nil
}

// begin starts a flight for the renewal of a token that is in use and soon at its end; nil when there is nothing to do.
func (e *entry) begin(now time.Time) *flight {
	t := e.token.Load()
	if t == nil || now.Before(t.renew) || !t.lives(now) || e.used.Load() <= t.fetched.Unix() {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.token.Load() != t || e.flight != nil || e.failure != nil && now.Sub(e.failed) < retryPause {
		return nil
	}
	e.flight = &flight{done: make(chan struct{})}
	return e.flight
}

// fly makes the request and tells everybody. A panic is a failure for those who wait, and goes on.
func (e *entry) fly(ctx context.Context, f *flight, now func() time.Time, fetch func(context.Context) (*token, *fault.Error)) {
	var t *token
	failure := &fault.Error{Hop: fault.Gateway, Phase: fault.Request, Kind: fault.Internal, Server: e.server.Name,
		Message: "the gateway failed to fetch a token", Hint: "this is a defect of the gateway: report it with the trace id"}
	defer func() { e.land(f, t, failure, now()) }()
	t, failure = fetch(ctx)
}

// land ends a flight. While the old token lives, it is what a failed flight brings.
func (e *entry) land(f *flight, t *token, failure *fault.Error, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flight, e.failure, e.failed = nil, failure, now
	old := e.token.Load()
	switch {
	case failure == nil:
		e.token.Store(t)
		f.value = t.value
	case old.lives(now):
		f.value = old.value
	default:
		f.fault = failure
	}
	close(f.done)
}

// drop forgets a token that the upstream refused, unless one was dropped lately.
func (e *entry) drop(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.token.Load() == nil || now.Sub(e.dropped) < refusedLife {
		return
	}
	e.dropped = now
	e.token.Store(nil)
}

// mayLog reports whether a line about this token is due.
func (e *entry) mayLog(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.logged) < logPause {
		return false
	}
	e.logged = now
	return true
}

// useless reports whether nothing would be lost with the entry.
func (e *entry) useless(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.flight == nil && !e.token.Load().lives(now) && now.Sub(e.failed) >= failureLife && now.Sub(e.dropped) >= refusedLife
}

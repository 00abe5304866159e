// Package gather makes one answer, or one stream, out of those of several servers.
//
// It promises that the slow and the broken among them cost the others nothing but a bounded wait, that what is missing is told per server in
// closed words, that what is listed is what can be called, and that a walk over pages meets everything that is there all the while exactly
// once, whatever comes and goes meanwhile. It refuses to talk to servers itself: what is done with each is its caller's.
package gather

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

const (
	// AtOnce is how many servers Each has something done with at a time.
	AtOnce = 32
	// DefaultLimit is the time for a server that has none of its own.
	DefaultLimit = 5 * time.Second
	// overall is by how much all of Each may take longer than the largest limit: those that wait for a place wait within this.
	overall = 2
)

// Outcome is what came of one server.
type Outcome struct {
	Server string
	// Status is one of the words of this package.
	Status string
	// Err says more; nil when Status is OK.
	Err *fault.Error
	// Warning says what of the server's part was left out though it answered well, and why; empty: nothing.
	Warning string
	// Took is how long it was worked on; waiting for a place isn't counted.
	Took time.Duration
}

// Each has do called for every member, at most AtOnce of them at a time, and returns when all calls have, with the outcomes in the order of
// the members. The context of each call ends after the server's Timeouts.List (DefaultLimit when it is 0), and at the latest when twice the
// longest of these has passed since the beginning: who gets no place until then isn't asked any more. do must return soon after its context
// ended. The end of ctx ends all. A panic of do is a fault of the gateway.
func Each(ctx context.Context, members []route.Member, do func(ctx context.Context, i int) error) []Outcome {
	r := round{ctx: ctx, members: members, do: do, out: make([]Outcome, len(members))}
	if len(members) == 0 {
		return r.out
	}
	var longest time.Duration
	for i := range members {
		longest = max(longest, limitOf(members[i].Server))
	}
	r.until = time.Now().Add(overall * longest)
	if len(members) == 1 {
		r.work()
		return r.out
	}
	var workers sync.WaitGroup
	for range min(len(members), AtOnce) {
		workers.Go(r.work)
	}
	workers.Wait()
	return r.out
}

func limitOf(s *table.Server) time.Duration {
	if s.Timeouts.List <= 0 {
		return DefaultLimit
	}
	return s.Timeouts.List
}

// round is one use of Each.
type round struct {
	ctx     context.Context
	members []route.Member
	do      func(ctx context.Context, i int) error
	until   time.Time
	next    atomic.Int64
	out     []Outcome // each element is written by the worker that took its index
}

func (r *round) work() {
	for {
		i := int(r.next.Add(1)) - 1
		if i >= len(r.members) {
			return
		}
		r.out[i] = r.one(i)
	}
}

// one works on a member within the time that it has.
func (r *round) one(i int) Outcome {
	s := r.members[i].Server
	began := time.Now()
	limit := min(limitOf(s), r.until.Sub(began))
	var f *fault.Error
	switch {
	case r.ctx.Err() != nil:
		f = r.ended(s.Name)
	case limit <= 0:
		f = noPlace(s.Name, len(r.members))
	default:
		f = r.within(i, limit)
	}
	return Outcome{Server: s.Name, Status: status(f), Err: f, Took: time.Since(began)}
}

func (r *round) within(i int, limit time.Duration) *fault.Error {
	ctx, cancel := context.WithTimeout(r.ctx, limit)
	defer cancel()
	err := r.call(ctx, i)
	if err == nil {
		return nil
	}
	server, f := r.members[i].Server.Name, fault.As(err)
	switch {
	case r.ctx.Err() != nil && lapsed(err, f):
		return r.ended(server)
	case ctx.Err() != nil && lapsed(err, f):
		return late(server, limit, err)
	case f == nil:
		return defect(server, err)
	case f.Server == "":
		named := *f // the fault may be another caller's, too
		named.Server = server
		return &named
	}
	return f
}

// call is do, with a panic of it as an error.
func (r *round) call(ctx context.Context, i int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return r.do(ctx, i)
}

// lapsed reports whether an error can come from the end of the time that there was, rather than from the server. f is the fault in it.
func lapsed(err error, f *fault.Error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	return f != nil && !f.Remote && (f.Kind == fault.TimedOut || f.Kind == fault.Reset || f.Kind == fault.Unreachable)
}

// late is a server that took too long. Where it was then is as the error tells, else in front of the head of its answer.
func late(server string, limit time.Duration, cause error) *fault.Error {
	return &fault.Error{Hop: fault.Upstream, Phase: catalogue.Where(cause, fault.Headers), Kind: fault.TimedOut, Server: server,
		Message: "the server " + server + " wasn't done with its part of the answer within " + limit.String(),
		Hint:    "look why the server is slow, or raise spec.timeouts.list of the server", Err: cause}
}

func noPlace(server string, all int) *fault.Error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Limit, Kind: fault.TimedOut, Server: server,
		Message: fmt.Sprintf("the server %s wasn't asked: others of the %d servers of this answer took all the time there was", server, all),
		Hint:    "narrow the endpoint with x-mcp-servers or a list of names, or look at the servers that time out"}
}

// ended is a server that wasn't waited for, because the request is over.
func (r *round) ended(server string) *fault.Error {
	cause := context.Cause(r.ctx)
	if f := fault.As(cause); f != nil {
		return f
	}
	f := &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Reset, Remote: true, Server: server,
		Message: "the request ended before the server " + server + " was done with its part of the answer", Err: cause}
	if errors.Is(r.ctx.Err(), context.DeadlineExceeded) {
		f.Hop, f.Kind, f.Remote = fault.Gateway, fault.TimedOut, false
	}
	return f
}

func defect(server string, cause error) *fault.Error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Request, Kind: fault.Internal, Server: server,
		Message: "the gateway failed to ask the server " + server, Hint: "this is a defect of the gateway: report it with the trace id", Err: cause}
}

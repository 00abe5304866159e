package several

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/fault"
)

// A session of several servers is gone when all of them have lost their part of it: the client ended it, maybe through another data plane, or they
// were restarted. Then it is 404 for whatever finds out (MCP 2025-03-26, session management), so that the client begins anew. While one part
// lives, the servers that have lost theirs are called in sessions of their own. Servers that gave no session id have nothing to lose, and nothing to
// say about it.

const (
	// pingsAtOnce is how many servers are asked at a time whether they still know a session.
	pingsAtOnce = 4
	// verdictLife is how long it is remembered what is left of a session, so that calls to a server which has lost its part don't cost a ping each.
	verdictLife = 10 * time.Second
	// mostVerdicts bounds what is remembered.
	mostVerdicts = 1000
)

// verdicts are what was found out about callers' sessions a moment ago. The zero value holds none; safe for concurrent use.
type verdicts struct {
	mu sync.Mutex
	at map[held]verdict // guarded by mu
}

// held names a sealed session.
type held struct{ principal, session string }

// verdict is what is left of a session.
type verdict struct {
	by    string // a server that knows its part, or couldn't be asked; empty: all of it is gone
	until time.Time
}

// of returns a verdict that holds for who has just seen that some servers have lost their parts.
func (v *verdicts) of(key held, lost func(server string) bool, now time.Time) (found verdict, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found, ok = v.at[key]
	return found, ok && now.Before(found.until) && (found.by == "" || !lost(found.by))
}

func (v *verdicts) set(key held, by string, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.at) >= mostVerdicts {
		for k, old := range v.at {
			if !now.Before(old.until) {
				delete(v.at, k)
			}
		}
	}
	if v.at == nil || len(v.at) >= mostVerdicts {
		v.at = make(map[held]verdict, 1)
	}
	v.at[key] = verdict{by, now.Add(verdictLife)}
}

// Ended is the fault for a session of which no server knows its part any more.
func Ended() *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Session, Kind: fault.NotFound, Status: http.StatusNotFound, Code: fault.CodeSession,
		Message: "Session not found: it was ended, or all servers that kept a part of it have lost theirs", Hint: "initialize again"}
}

// Gone finds out whether anything is left of the caller's session, once servers have lost their parts of it. It asks the others, unless it did a
// moment ago, and returns Ended when all of them don't know theirs either; nil: something is left, or nobody can tell. What isn't a fault is that
// ctx ended.
func (s *Servers) Gone(ctx context.Context, r *Request, lost func(server string) bool) error {
	if r.Elsewhere || r.Era != message.Legacy {
		return nil
	}
	key := held{r.Principal.ID, r.Record.Session}
	known, ok := s.verdicts.of(key, lost, time.Now())
	if !ok {
		var err error
		if known.by, err = s.left(ctx, r, lost); err != nil {
			return err
		}
		s.verdicts.set(key, known.by, time.Now())
	}
	if known.by == "" {
		return Ended()
	}
	return nil
}

// left returns a server that may still know its part of the caller's session; empty: none does. What the caller has narrowed this request to has no
// say in that: the session is the endpoint's.
func (s *Servers) left(ctx context.Context, r *Request, lost func(server string) bool) (by string, err error) {
	var ask []route.Member
	whole := r.Scope.Whole()
	for i := range r.Session.Upstreams {
		u := &r.Session.Upstreams[i]
		if u.ID == "" || lost(u.Server) {
			continue
		}
		m, open := whole.Member(u.Server)
		if !open { // what it holds is of no use here any more
			continue
		}
		if _, elsewhere := s.cfg.Hop.OwnerOf(m.Server, u.ID); elsewhere {
			return u.Server, nil
		}
		ask = append(ask, m)
	}
	for some := range slices.Chunk(ask, pingsAtOnce) {
		if by = s.ping(ctx, r, some); by != "" || ctx.Err() != nil {
			break
		}
	}
	return by, ctx.Err()
}

// ping asks servers in parallel whether they know their part of the caller's session, and returns the first one that doesn't deny it.
func (s *Servers) ping(ctx context.Context, r *Request, members []route.Member) (by string) {
	enough, stop := context.WithCancel(ctx)
	defer stop()
	var first atomic.Pointer[string]
	legs := s.legs(r, members)
	outs := gather.Each(enough, members, func(ctx context.Context, i int) error {
		err := legs[i].Prepare(ctx)
		if err == nil {
			err = legs[i].Ping(ctx)
		}
		if !hop.SessionLost(err) {
			first.CompareAndSwap(nil, &members[i].Server.Name)
			stop()
		}
		return err
	})
	if p := first.Load(); p != nil {
		by = *p
	}
	for i, l := range legs {
		var err error
		if f := outs[i].Err; f != nil && (hop.SessionLost(f) || outs[i].Server == by) { // of the others nobody wanted to know any more
			err = f
		}
		l.Finish(&r.Request, err)
	}
	return by
}

// allLost reports whether each server that keeps a part of the session has said that it doesn't know it, as outcomes of all of them tell.
func (r *Request) allLost(outs []gather.Outcome) bool {
	some := false
	for i := range outs {
		if u, _ := r.Session.Of(outs[i].Server); u.ID == "" {
			continue
		}
		if outs[i].Err == nil || !hop.SessionLost(outs[i].Err) {
			return false
		}
		some = true
	}
	return some && !r.Elsewhere && !r.leavesOut()
}

// leavesOut reports whether the session holds parts of servers that the caller has narrowed away in this request, so that nobody asked them.
func (r *Request) leavesOut() bool {
	whole := r.Scope.Whole()
	return slices.ContainsFunc(r.Session.Upstreams, func(u session.Upstream) bool {
		_, asked := r.Scope.Member(u.Server)
		_, open := whole.Member(u.Server)
		return u.ID != "" && open && !asked
	})
}

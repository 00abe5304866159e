// Package balance keeps what one data plane knows about the instances of each server: which of them are broken, how many calls they have, and
// who waits for a place.
//
// It promises:
//   - A call of a server with one instance, no limit and no trouble costs one look-up without a lock and two atomic additions.
//   - Only failures of connecting, or of answering at all, open a breaker, and the caller of Judge is asked to tell nothing else. A call without
//     an answer says nothing while others get theirs: no caller can close a server to others with calls that take long or that it hangs up on.
//     While a breaker is open the instance gets no calls; then one probe or one call at a time finds out.
//   - Calls that wait for a place are served in the order in which they came, and whoever leaves frees its place at once.
//     No principal has more than half of the waiting places, so that one can't shut out the others.
//   - What is known about an instance outlives a change of the server's config that keeps the instance's address and path. What isn't used any
//     more is forgotten.
//
// It refuses to send a call that belongs to one instance to another one, and to wait without an end.
package balance

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
)

// sweepEvery is how long a server that isn't called is remembered, at least.
const sweepEvery = time.Minute

// Balance holds the state of all servers. Its methods may be called from many goroutines.
type Balance struct {
	now    func() time.Time
	start  time.Time      // when it was made
	random func() float64 // in [0, 1)

	views  views
	opened atomic.Int64 // breakers that opened so far
	probed atomic.Bool  // somebody sends probes to open instances

	mu    sync.Mutex
	sites map[string]*site // guarded by mu; by the server's name
	swept time.Time        // guarded by mu
}

// site is what configs of one server share.
type site struct {
	queue     queue
	instances map[string]*Instance // guarded by Balance.mu; by key
}

// Server is the state of one server as one config describes it.
type Server struct {
	Config  *table.Server
	balance *Balance
	site    *site
	members []member
	used    atomic.Bool // since the last sweep
}

// member is one instance, and how this config calls it.
type member struct {
	*Instance
	target *table.Target
}

// Instance is one address of a server.
type Instance struct {
	breaker  breaker
	inFlight atomic.Int64
	probing  atomic.Bool
	answered atomic.Int64 // when it last did, about: nanoseconds since Balance.start; 0: never
}

// New returns an empty Balance. now is the clock; nil means time.Now.
func New(now func() time.Time) *Balance {
	if now == nil {
		now = time.Now
	}
	start := now()
	return &Balance{now: now, start: start, random: rand.Float64, sites: map[string]*site{}, swept: start}
}

// Of returns the state of a server, which must have a Target.
func (b *Balance) Of(s *table.Server) *Server {
	if v := b.views.get(s); v != nil {
		if !v.used.Load() {
			v.used.Store(true)
		}
		return v
	}
	return b.add(s)
}

// Probed says whether somebody sends probes to instances whose breaker is open; until then a call finds out.
func (b *Balance) Probed(yes bool) { b.probed.Store(yes) }

func (b *Balance) add(s *table.Server) *Server {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.views.get(s); v != nil {
		return v
	}
	st := b.sites[s.Name]
	if st == nil {
		st = &site{instances: map[string]*Instance{}}
		b.sites[s.Name] = st
	}
	v := &Server{Config: s, balance: b, site: st}
	for _, t := range targets(s) {
		k := key(t)
		i := st.instances[k]
		if i == nil {
			i = &Instance{}
			st.instances[k] = i
		}
		v.members = append(v.members, member{Instance: i, target: t})
	}
	v.used.Store(true)
	b.views.add(s, v)
	b.sweep()
	return v
}

// targets are the instances of a server.
func targets(s *table.Server) []*table.Target {
	if len(s.Instances) > 0 {
		return s.Instances
	}
	return []*table.Target{s.Target}
}

func key(t *table.Target) string { return t.Key + " " + t.Path }

// Sweep forgets servers, configs and instances that nobody has used for a minute.
func (b *Balance) Sweep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweep()
}

// sweep is called with mu held.
func (b *Balance) sweep() {
	now := b.now()
	if now.Sub(b.swept) < sweepEvery {
		return
	}
	b.swept = now
	live := map[*Instance]struct{}{}
	b.views.keep(func(view *Server) bool {
		if !view.used.Swap(false) && !view.busy() {
			return false
		}
		for _, m := range view.members {
			live[m.Instance] = struct{}{}
		}
		return true
	})
	for name, st := range b.sites {
		for k, i := range st.instances {
			if _, ok := live[i]; !ok {
				delete(st.instances, k)
			}
		}
		if len(st.instances) == 0 {
			delete(b.sites, name)
		}
	}
}

// busy reports whether calls of the server are under way or wait.
func (v *Server) busy() bool {
	if v.site.queue.Waiting() > 0 {
		return true
	}
	for _, m := range v.members {
		if m.inFlight.Load() > 0 {
			return true
		}
	}
	return false
}

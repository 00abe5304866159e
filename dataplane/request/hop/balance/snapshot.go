package balance

import (
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// State is what one server looks like now.
type State struct {
	Server   string
	InFlight int64 // calls under way; of a server with neither a limit nor several instances up to the head of their answers
	Queued   int
	// Instances by host, of all configs in use.
	Instances []InstanceState
}

// InstanceState is one instance.
type InstanceState struct {
	Host string // host and port; no path, which may hold a secret
	Open bool
}

// Peek returns the state of a server if it is known; nil otherwise.
func (b *Balance) Peek(s *table.Server) *Server { return b.views.get(s) }

// Broken is an instance that gets no calls.
type Broken struct {
	Target *table.Target
	// Why is the last failure, without its cause; nil: nobody said.
	Why *fault.Error
}

// Open returns the instances that get no calls.
func (v *Server) Open() []Broken {
	var out []Broken
	for i := range v.members {
		if m := &v.members[i]; v.open(m) {
			out = append(out, Broken{m.target, m.breaker.why.Load()})
		}
	}
	return out
}

// Keep remembers what is known for another while if an instance is open.
func (v *Server) Keep() {
	for i := range v.members {
		if v.open(&v.members[i]) {
			v.used.Store(true)
			return
		}
	}
}

// Snapshot calls visit for each server in use; a server with several configs in use comes once for each, with the same calls.
func (b *Balance) Snapshot(visit func(State)) {
	b.views.all(func(v *Server) {
		st := State{Server: v.Config.Name, Queued: v.site.queue.Waiting()}
		for i := range v.members {
			m := &v.members[i]
			st.InFlight += m.inFlight.Load()
			st.Instances = append(st.Instances, InstanceState{Host: m.target.Host, Open: v.open(m)})
		}
		visit(st)
	})
}

// Opened counts the breakers that have opened so far: who looks for open instances looks again when it has changed.
func (b *Balance) Opened() int64 { return b.opened.Load() }

// Servers returns the servers with an open instance.
func (b *Balance) Servers() []*Server {
	var out []*Server
	b.views.all(func(v *Server) {
		if len(v.Open()) > 0 {
			out = append(out, v)
		}
	})
	return out
}

// Probes returns a lease for each instance that a probe should ask now: those that are open and whose time is over, and with all set each
// other one, too. An instance has one probe at a time; Conclude ends it.
func (v *Server) Probes(now time.Time, all bool) []Lease {
	var out []Lease
	for i := range v.members {
		m := &v.members[i]
		if !v.open(m) && !all || !m.probing.CompareAndSwap(false, true) {
			continue
		}
		l := Lease{server: v, instance: m.Instance, Target: m.target}
		if v.open(m) {
			if l.trial, _ = m.breaker.try(now, 0); !l.trial {
				m.probing.Store(false)
				continue
			}
		}
		out = append(out, l)
	}
	return out
}

// Server is whose instance it is.
func (l *Lease) Server() *table.Server { return l.server.Config }

// Conclude ends a probe. One that shows nothing lets the next call find out.
func (l *Lease) Conclude(verdict Verdict) {
	if verdict == Nothing && l.trial {
		l.instance.breaker.spare(true)
	} else {
		l.Judge(verdict, time.Time{}, time.Time{})
	}
	l.instance.probing.Store(false)
}

// Postpone ends a probe that wasn't sent.
func (l *Lease) Postpone() {
	if l.trial {
		l.instance.breaker.spare(false)
	}
	l.instance.probing.Store(false)
}

package hop

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

// How long what a server has shown is believed without new evidence: it may be upgraded while nobody probes it.
const (
	eraLife   = 5 * time.Minute
	plainLife = time.Minute
)

// facts are what the answers of one server have shown.
type facts struct {
	modern, legacy verdict
	plain          atomic.Int64 // when it last gave no session id to a one-shot initialize, unix nanoseconds
}

func (f *facts) stale(now time.Time) bool {
	return !f.modern.fresh(now) && !f.legacy.fresh(now) && now.UnixNano()-f.plain.Load() >= int64(plainLife)
}

// verdict is the last evidence for or against something: unix nanoseconds, negative when it was against; 0 for none.
type verdict struct{ at atomic.Int64 }

func (v *verdict) set(yes bool, now time.Time) {
	n := now.UnixNano()
	if !yes {
		n = -n
	}
	v.at.Store(n)
}

func (v *verdict) fresh(now time.Time) bool {
	n := v.at.Load()
	return now.UnixNano()-max(n, -n) < int64(eraLife)
}

func (v *verdict) against(now time.Time) bool { return v.at.Load() < 0 && v.fresh(now) }

func (v *verdict) favours(now time.Time) bool { return v.at.Load() > 0 && v.fresh(now) }

// memory keeps the facts about servers. They hang on the config a server was compiled from, so that a changed one starts afresh. Reading
// takes no lock; a server's first evidence copies the map and drops what is stale, so that it holds no more than was seen lately.
type memory struct {
	facts atomic.Pointer[map[confset.Hash]*facts]
	mu    sync.Mutex // of those who replace the map
}

// of returns what is known about s, or nil.
func (m *memory) of(s *table.Server) *facts {
	if p := m.facts.Load(); p != nil {
		return (*p)[s.Hash]
	}
	return nil
}

// note returns the facts about s to be added to.
func (m *memory) note(s *table.Server, now time.Time) *facts {
	if f := m.of(s); f != nil {
		return f
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.of(s); f != nil {
		return f
	}
	next := make(map[confset.Hash]*facts)
	if p := m.facts.Load(); p != nil {
		maps.Copy(next, *p)
		maps.DeleteFunc(next, func(_ confset.Hash, f *facts) bool { return f.stale(now) })
	}
	f := &facts{}
	next[s.Hash] = f
	m.facts.Store(&next)
	return f
}

// sessionless reports whether s lately gave no session id to a one-shot initialize.
func (m *memory) sessionless(s *table.Server, now time.Time) bool {
	f := m.of(s)
	return f != nil && now.UnixNano()-f.plain.Load() < int64(plainLife)
}

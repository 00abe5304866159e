package balance

import (
	"maps"
	"sync/atomic"

	"github.com/hopgate/hopgate/dataplane/table"
)

// views finds the state of a server without a lock. Writers hold Balance.mu; they copy one shard, so that a large fleet's first calls don't copy
// all of it again and again.
type views [256]atomic.Pointer[map[*table.Server]*Server]

func (w *views) shard(s *table.Server) *atomic.Pointer[map[*table.Server]*Server] {
	return &w[s.Hash[0]]
}

// get returns the state of s, or nil.
func (w *views) get(s *table.Server) *Server {
	if m := w.shard(s).Load(); m != nil {
		return (*m)[s]
	}
	return nil
}

func (w *views) add(s *table.Server, v *Server) {
	shard := w.shard(s)
	next := map[*table.Server]*Server{s: v}
	if m := shard.Load(); m != nil {
		maps.Copy(next, *m)
	}
	shard.Store(&next)
}

// all calls visit for each.
func (w *views) all(visit func(*Server)) {
	for i := range w {
		if m := w[i].Load(); m != nil {
			for _, v := range *m {
				visit(v)
			}
		}
	}
}

// keep drops those that keep refuses; it is asked once for each.
func (w *views) keep(keep func(*Server) bool) {
	for i := range w {
		m := w[i].Load()
		if m == nil {
			continue
		}
		next := make(map[*table.Server]*Server, len(*m))
		for s, v := range *m {
			if keep(v) {
				next[s] = v
			}
		}
		if len(next) < len(*m) {
			w[i].Store(&next)
		}
	}
}

package dataplane

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// amiss remembers of which servers the control plane was told that instances get no calls or pinned tools have changed, so that it hears the
// end of it without traffic. The zero value is ready; safe for concurrent use.
type amiss struct {
	mu   sync.Mutex
	told map[string]*syncv1.UpstreamHealth // guarded by mu
}

// fill puts what look tells into the reports of servers that had traffic, and appends reports of others of which something else was told last
// time.
func (a *amiss) fill(list []*syncv1.UpstreamHealth, look func(server string) (open, drifted []string)) []*syncv1.UpstreamHealth {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.told == nil {
		a.told = map[string]*syncv1.UpstreamHealth{}
	}
	before := a.told
	a.told = make(map[string]*syncv1.UpstreamHealth, len(before))
	for _, u := range list {
		u.Open, u.Drifted = look(u.GetServer())
		a.note(u)
		delete(before, u.GetServer())
	}
	for server, old := range before {
		open, drifted := look(server)
		if slices.Equal(open, old.GetOpen()) && slices.Equal(drifted, old.GetDrifted()) {
			a.told[server] = old
			continue
		}
		again := &syncv1.UpstreamHealth{Server: server, Ok: old.GetOk(), Error: old.GetError(), Time: old.GetTime(), Open: open, Drifted: drifted}
		a.note(again)
		list = append(list, again)
	}
	return list
}

// note keeps a copy of what is told; mu is held.
func (a *amiss) note(u *syncv1.UpstreamHealth) {
	if len(u.GetOpen())+len(u.GetDrifted()) > 0 {
		a.told[u.GetServer()] = proto.CloneOf(u)
	}
}

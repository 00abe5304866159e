package leg

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
)

// announced remembers of which changes each server has said that it tells. It hangs on the config a server was compiled from. The zero value is
// ready; safe for concurrent use.
type announced struct {
	flags sync.Map // confset.Hash → said
	n     atomic.Int64
}

const (
	// mostTold bounds what is remembered; then all of it is forgotten, and learnt again.
	mostTold = 10_000
	// muteFor is how long a server is believed to have no stream on which it tells changes.
	muteFor = 10 * time.Minute
)

// said is what a server has said.
type said struct {
	flags uint8
	until time.Time // of one that is mute
}

const (
	toldAny  uint8 = 1 << iota
	toldMute       // there is no stream on which it could
	toldTools
	toldPrompts
	toldResources
)

// note takes in what a server said of itself.
func (a *announced) note(s *table.Server, hello *message.Hello) {
	flags := toldAny
	for flag, name := range map[uint8]string{toldTools: "tools", toldPrompts: "prompts", toldResources: "resources"} {
		if message.TellsChanges(hello.Capabilities, name) {
			flags |= flag
		}
	}
	if old, ok := a.load(s); ok && old&toldMute != 0 {
		return
	}
	a.set(s, said{flags: flags})
}

// load returns what is known of a server.
func (a *announced) load(s *table.Server) (flags uint8, ok bool) {
	v, ok := a.flags.Load(s.Hash)
	if !ok {
		return 0, false
	}
	of, _ := v.(said)
	return of.flags, of.until.IsZero() || time.Now().Before(of.until)
}

func (a *announced) set(s *table.Server, of said) {
	if _, loaded := a.flags.Swap(s.Hash, of); loaded {
		return
	}
	if a.n.Add(1) > mostTold {
		a.flags.Clear()
		a.n.Store(0)
	}
}

// mute notes that a server has no stream on which it could tell changes. It may get one: that is believed for a while only.
func (a *announced) mute(s *table.Server) {
	a.set(s, said{flags: toldAny | toldMute, until: time.Now().Add(muteFor)})
}

// tells reports whether a server tells of changes of a kind. One that nobody has heard of may.
func (a *announced) tells(s *table.Server, kind catalogue.Kind) bool {
	flags, ok := a.load(s)
	if !ok {
		return true
	}
	if flags&toldMute != 0 {
		return false
	}
	switch kind {
	case catalogue.Tools:
		return flags&toldTools != 0
	case catalogue.Prompts:
		return flags&toldPrompts != 0
	}
	return flags&toldResources != 0
}

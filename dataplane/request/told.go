package request

import (
	"sync"
	"sync/atomic"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
)

// told remembers of which changes each server has said that it tells. It hangs on the config a server was compiled from. The zero value is
// ready; safe for concurrent use.
type told struct {
	flags sync.Map // confset.Hash → uint8
	n     atomic.Int64
}

// mostTold bounds what is remembered; then all of it is forgotten, and learnt again.
const mostTold = 10_000

const (
	toldAny  uint8 = 1 << iota
	toldMute       // there is no stream on which it could
	toldTools
	toldPrompts
	toldResources
)

// note takes in what a server said of itself.
func (t *told) note(s *table.Server, hello *message.Hello) {
	flags := toldAny
	for flag, name := range map[uint8]string{toldTools: "tools", toldPrompts: "prompts", toldResources: "resources"} {
		if message.TellsChanges(hello.Capabilities, name) {
			flags |= flag
		}
	}
	if v, ok := t.flags.Load(s.Hash); ok {
		if old, _ := v.(uint8); old&toldMute != 0 {
			return
		}
	}
	if old, loaded := t.flags.Swap(s.Hash, flags); loaded && old == flags {
		return
	}
	if t.n.Add(1) > mostTold {
		t.flags.Clear()
		t.n.Store(0)
	}
}

// mute notes that a server has no stream on which it could tell changes.
func (t *told) mute(s *table.Server) { t.flags.Store(s.Hash, toldAny|toldMute) }

// tells reports whether a server tells of changes of a kind. One that nobody has heard of may.
func (t *told) tells(s *table.Server, kind catalogue.Kind) bool {
	v, ok := t.flags.Load(s.Hash)
	if !ok {
		return true
	}
	flags, _ := v.(uint8)
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

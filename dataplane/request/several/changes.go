package several

import (
	"bytes"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/leg"
	"github.com/hopgate/hopgate/dataplane/request/message"
)

// newsWait is how long the word that a list has changed waits: for more of its kind, since many servers may change at once, and for the other
// data planes to hear of it, too, since the caller asks any of them for the new list.
const newsWait = 100 * time.Millisecond

// news are changes of lists that are about to be told on a merged stream, one of each kind. The zero value holds none.
type news struct {
	held map[string][]byte // events by method
	due  time.Time
}

// keep takes an event in if it says that a list has changed. Its id stays behind: later events may go out before it.
func (n *news) keep(event, data []byte) bool {
	method := message.Method(data)
	if leg.ChangedBy(method) == nil {
		return false
	}
	if len(n.held) == 0 {
		n.held, n.due = make(map[string][]byte, 1), time.Now().Add(newsWait)
	}
	n.held[method] = message.SetEventID(nil, bytes.Clone(event), "")
	return true
}

// next waits for the next event, or with gather.ErrQuiet for the moment when what is held is due.
func (n *news) next(f *gather.Funnel) (server string, event []byte, err error) {
	if len(n.held) == 0 {
		return f.Next()
	}
	if wait := time.Until(n.due); wait > 0 {
		return f.NextWithin(wait)
	}
	return "", nil, gather.ErrQuiet
}

// take returns what is held, and holds nothing more.
func (n *news) take() (events [][]byte) {
	for method, event := range n.held {
		delete(n.held, method)
		events = append(events, event)
	}
	return events
}

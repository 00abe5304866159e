package hop

import (
	"time"

	"github.com/hopgate/hopgate/dataplane/request/bridge"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
)

// Learn takes the answer to a server/discover or initialize, relayed or of a probe, as evidence of the server's eras. Nothing that changes
// anything is ever tried on a server to find out.
func (h *Hop) Learn(s *table.Server, method string, status int, answer []byte, now time.Time) {
	switch method {
	case "server/discover":
		if modern, ok := message.Discover(status, answer); ok {
			h.memory.note(s, now).modern.set(modern, now)
		}
	case "initialize":
		if legacy, ok := message.Initialized(status, answer); ok {
			h.memory.note(s, now).legacy.set(legacy, now)
		}
	}
}

// Known is what the answers of a server have shown lately about its eras.
func (h *Hop) Known(s *table.Server, now time.Time) bridge.Known {
	f := h.memory.of(s)
	if f == nil {
		return bridge.Known{}
	}
	return bridge.Known{NotModern: f.modern.against(now), NotLegacy: f.legacy.against(now)}
}

// Mixed refuses a request of an era that the server is known not to speak, as bridge.Between decides.
//
// Without a revision that the caller requested, the one that the gateway would have spoken for it is named.
func (h *Hop) Mixed(s *table.Server, era message.Era, method, requested string, now time.Time) error {
	if requested == "" && era == message.Legacy {
		requested = oneShotRevision
	}
	_, err := bridge.Between(bridge.Ask{Caller: era, Method: method, Requested: requested}, s, h.Known(s, now))
	return err
}

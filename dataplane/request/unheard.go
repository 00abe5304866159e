package request

import (
	"context"
	"slices"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/telemetry"
)

// In the middle of a call a server may ask its client something (elicitation, sampling, roots). Where nobody is there who could answer, the server
// is told so at once; else its tool waits, and the call with it, until one of them runs out of time.

const (
	// mostDeclined bounds the requests of a server that are answered within one call.
	mostDeclined = 32
	// declineTimeout bounds one such answer; the call's own stream waits meanwhile.
	declineTimeout = 5 * time.Second
)

// unheard reports whether what a server asks on the answer of this call reaches nobody who could answer: a caller without a session has no way to,
// and one who takes no events doesn't hear of it.
func (x *exchange) unheard(events bool) bool {
	switch {
	case x.era == message.Modern || x.env.Kind != message.Request:
		return false // its servers send no requests
	case !events:
		return true
	case x.several:
		return x.alone && x.rec.Session == ""
	}
	return x.rec.OneShot // a client of 2025-03-26 that names no revision, and whose server gives no session id, looks bare and can answer
}

// decline answers the server's request in the event in x.ans, if it is one, with an error in the session of the call, once. It isn't passed on.
func (h *Handler) decline(x *exchange) (was bool) {
	var ok bool
	if x.data, ok = message.Data(x.data[:0], x.ans); !ok {
		return false
	}
	id, method, asks := message.IsServerRequest(x.data)
	if !asks {
		return false
	}
	if len(x.declined) >= mostDeclined || slices.Contains(x.declined, string(id)) {
		return true
	}
	x.declined = append(x.declined, string(id))
	answer := message.AppendResult(nil, id, []byte("{}"))
	if method != "ping" {
		answer = appendDeclined(nil, id, method)
	}
	h.tellServer(x, answer)
	return true
}

func appendDeclined(dst, id []byte, method string) []byte {
	dst = append(append(append(dst, `{"jsonrpc":"2.0","id":`...), id...), `,"error":{"code":-32601,"message":`...)
	dst = message.AppendQuoted(dst, shown(method)+" can't be answered: this call came through a gateway from a caller without an MCP client that could be asked")
	return append(dst, "}}"...)
}

// tellServer sends a message of our own in the session of the call. It has no part in the limit of calls at once: the call itself has a place.
func (h *Handler) tellServer(x *exchange, body []byte) {
	ctx, cancel := context.WithTimeout(x.ctx, declineTimeout)
	defer cancel()
	c := x.call
	c.Body, c.Stream, c.Repeatable = body, true, false
	var rec telemetry.Record // its timing is nobody's business
	a, err := h.cfg.Hop.Send(ctx, &c, &rec)
	if err == nil {
		if a.Status/100 != 2 {
			err = a.Refused(nil, x.server.Name, c.Session != "").Fault
		}
		a.Close()
	}
	if err != nil {
		h.cfg.Log.Debug("a server couldn't be told that nobody answers its request", "server", x.server.Name, "error", hop.OfServer(err, x.server.Name))
	}
}

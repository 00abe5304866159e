package request

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
)

// handOver hands a request whose upstream session another data plane holds to that one, as it came: grants and limits of a message are looked at
// there, and it is recorded there as well. done: it was, or could not be.
func (h *Handler) handOver(x *exchange) (done bool, err error) {
	owner, elsewhere := h.cfg.Hop.OwnerOf(x.server, x.call.Session)
	if !elsewhere {
		return false, nil
	}
	return true, h.handTo(x, owner, x.body)
}

// handTo hands a request to the data plane at an address. body is what was read and unpacked of a POST.
func (h *Handler) handTo(x *exchange, owner string, body []byte) error {
	if h.cfg.Forward == nil || x.in.Forwarded {
		return Gone("the data plane that holds it isn't there any more", "initialize again")
	}
	in := *x.in
	in.Body, in.Length = nil, 0 // of others it was read away
	if in.Method == http.MethodPost {
		in.Header = in.Header.Clone()
		in.Header.Del("Content-Encoding")
		in.Body, in.Length = bytes.NewReader(body), int64(len(body))
	}
	h.adopt(x)
	return h.cfg.Forward(x.ctx, owner, &in, visitSink{x})
}

// holder returns the address of the data plane that holds upstream sessions of a session of several servers; all of them began in the same one.
// A request that was handed on already has nowhere else to go.
func (h *Handler) holder(x *exchange) (owner string, elsewhere bool) {
	if x.in.Forwarded {
		return "", false
	}
	for i := range x.many.Upstreams {
		if owner, elsewhere = h.absent(x, &x.many.Upstreams[i]); elsewhere {
			return owner, true
		}
	}
	return "", false
}

// handOverMany is handOver for what is about all servers of a session.
func (h *Handler) handOverMany(x *exchange) (done bool, err error) {
	owner, elsewhere := h.holder(x)
	if !elsewhere {
		h.dropAbsent(x)
		return false, nil
	}
	return true, h.handTo(x, owner, x.body)
}

// original is a copy of the caller's message, if it may have to be handed on.
func (h *Handler) original(x *exchange) []byte {
	if _, elsewhere := h.holder(x); !elsewhere {
		return nil
	}
	return bytes.Clone(x.body)
}

// handOverOwned is handOver for what is about one of several servers; body is the original, since the message may have been rewritten.
func (h *Handler) handOverOwned(x *exchange, m *route.Member, body []byte) (done bool, err error) {
	u, live := x.many.Of(m.Server.Name)
	if body == nil || !live {
		return false, nil
	}
	owner, elsewhere := h.absent(x, &u)
	if !elsewhere {
		return false, nil
	}
	return true, h.handTo(x, owner, body)
}

// absent says where an upstream session is, if it isn't here.
func (h *Handler) absent(x *exchange, u *session.Upstream) (owner string, elsewhere bool) {
	s, ok := x.table.Server(u.Server)
	if !ok {
		return "", false
	}
	return h.cfg.Hop.OwnerOf(s, u.ID)
}

// dropAbsent takes the upstream sessions that live in other data planes out of a session of several servers: for what needs none of them.
func (h *Handler) dropAbsent(x *exchange) {
	x.many.Upstreams = slices.DeleteFunc(x.many.Upstreams, func(u session.Upstream) bool {
		_, elsewhere := h.absent(x, &u)
		x.elsewhere = x.elsewhere || elsewhere
		return elsewhere
	})
}

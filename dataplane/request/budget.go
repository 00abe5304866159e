package request

import "github.com/hopgate/hopgate/proto/fault"

// What a request may keep in memory without asking: bodies, answers and events up to here are within what any connection costs.
const small = 64 << 10

// hold reserves n bytes for x among those of all requests and reports whether there was room. What isn't given back is when x ends.
func (h *Handler) hold(x *exchange, n int64) bool {
	if h.held.Add(n) > h.cfg.HeldBytes {
		h.held.Add(-n)
		return false
	}
	x.held += n
	return true
}

func (h *Handler) giveBack(x *exchange, n int64) {
	x.held -= n
	h.held.Add(-n)
}

func crowded() error {
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Limit, Kind: fault.Unavailable,
		Message: "the gateway holds too many large messages at this moment", Hint: "try again shortly"}
}

// weigh counts the copies of a message to several servers, which are kept for as long as its stream lasts. A large message gets none.
func (h *Handler) weigh(x *exchange, copies int64) error {
	switch {
	case copies <= small:
		return nil
	case len(x.body) > small:
		return tooLarge(small)
	case !h.hold(x, copies):
		return crowded()
	}
	return nil
}

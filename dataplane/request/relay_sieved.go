package request

import (
	"errors"
	"io"
	"slices"

	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// A caller whose grants don't open every tool of a server sees just those it may call. Its lists are held whole and what is closed is cut
// out of them; everything else stays byte for byte. Lists come as the answer to tools/list, or again on a stream that is resumed.

// sieving reports whether the answer may hold a list with tools the caller may not call.
func (x *exchange) sieving() bool {
	return !x.access.Free() && (x.rec.Method == "tools/list" || x.rec.Method == "") && !x.unshaped()
}

// unshaped reports whether the list goes out as the server made it: an operator asks for the definitions that pins are about. It takes a
// caller whose grants restrict nothing of the server, so that only what the server's own config says is left out.
func (x *exchange) unshaped() bool {
	return x.rec.Method == "tools/list" && yes(x.in.Header["X-Hopgate-Unshaped"]) && x.principal.Debug && x.access.All()
}

// relaySieved brings a JSON answer after what is closed to the caller was cut out.
func (h *Handler) relaySieved(x *exchange, a *hop.Answer) error {
	if err := h.readWhole(x, a); err != nil {
		return x.named(err)
	}
	out, err := message.EditTools(x.data[:0], x.ans, x.view)
	if err != nil {
		return x.unsieved(err)
	}
	x.ans, x.data = out, x.ans[:0]
	return h.relayWhole(x, a)
}

// readWhole reads an answer of any length up to the limit into x.ans; what goes beyond the small is held among that of all requests.
func (h *Handler) readWhole(x *exchange, a *hop.Answer) error {
	limit := x.table.Settings().Result
	x.ans = x.ans[:0]
	for {
		if len(x.ans) == cap(x.ans) {
			more := max(4<<10, len(x.ans))
			if len(x.ans)+more > small && !h.hold(x, 2*int64(more)) {
				return crowded()
			}
			x.ans = slices.Grow(x.ans, more)
		}
		n, err := a.Read(x.ans[len(x.ans):cap(x.ans)])
		x.ans = x.ans[:len(x.ans)+n]
		switch {
		case int64(len(x.ans)) > limit:
			return x.resultTooLarge()
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// sieveEvent cuts out of the event in x.ans what is closed to the caller.
func (x *exchange) sieveEvent() error {
	if !x.sieving() {
		return nil
	}
	out, changed, err := message.EditEvent(x.data[:0], x.ans, x.view)
	switch {
	case err != nil:
		return x.unsieved(err)
	case changed:
		x.ans, x.data = out, x.ans[:0]
	}
	return nil
}

// view says how the one server of the endpoint shows a tool to this caller.
func (x *exchange) view(tool string) (message.View, bool) {
	if _, hidden := x.drifted[tool]; hidden || !x.access.Tool(tool) {
		return message.View{}, false
	}
	v, ok := x.server.Shape.Show(tool)
	return message.View{Name: v.Name, Description: v.Description, Parameters: v.Parameters}, ok
}

// unsieved refuses a list that can't be read beyond doubt: half of what it says must not reach the caller.
func (x *exchange) unsieved(err error) error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Malformed, Server: x.server.Name, Err: err,
		Message: "the list of tools of the server " + x.server.Name + " can't be read, and this caller may not see all of it",
		Hint:    "look at the server's answer to tools/list: it repeats names or isn't JSON"}
}

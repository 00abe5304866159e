package request

import (
	"github.com/hopgate/hopgate/dataplane/request/message"
)

// A client takes an answer for that of the request whose id it has, on whichever stream it comes. So one of several servers could answer what
// was asked of another one. What has no place on a stream of an endpoint of several servers isn't passed on.

// mostBatched bounds the messages of one event that are looked at (MCP 2025-03-26 has batches).
const mostBatched = 100

// stray reports whether the event's message in x.data has no place on its stream: an answer for which mine is false, what can be read in two
// ways, or a batch with one of these or with a request, which can't be given the way back.
func (x *exchange) stray(mine func(answer []byte) bool) bool {
	if len(x.data) == 0 {
		return false
	}
	if x.data[0] != '[' {
		kind, ok := kindOf(x.data)
		return !ok || kind == message.Response && !mine(x.data)
	}
	batch, err := message.SplitBatch(x.data, mostBatched)
	if err != nil {
		return true
	}
	for _, m := range batch {
		switch kind, ok := kindOf(m); {
		case !ok, kind == message.Request, kind == message.Batch, kind == message.Response && !mine(m):
			return true
		}
	}
	return false
}

func kindOf(data []byte) (kind message.Kind, ok bool) {
	var e message.Envelope
	ok = message.Scan(data, message.MaxDepth, &e) == nil
	return e.Kind, ok
}

// answersMe reports whether an answer is the one to the caller's request, or an error that names no request.
func (x *exchange) answersMe(answer []byte) bool {
	if answers, _ := message.Answers(answer, x.id()); answers {
		return true
	}
	var e message.Envelope
	if message.Scan(answer, message.MaxDepth, &e) != nil {
		return false
	}
	id := string(e.ID.Of(answer))
	return e.Error.Present() && (id == "" || id == "null")
}

// own is an answer that came instead of a stream: as it is, or with the caller's id where it is an error that names another request. Empty: it
// can be read in two ways, or answers something else.
func (x *exchange) own(answer []byte) []byte {
	if !x.dressed() || len(answer) == 0 || len(x.id()) == 0 {
		return answer
	}
	if kind, ok := kindOf(answer); !ok || kind != message.Response {
		return nil
	}
	if x.answersMe(answer) {
		return answer
	}
	out, ok := message.ReplaceID(nil, answer, x.id())
	if !ok || !message.IsError(answer) {
		return nil
	}
	return out
}

func never([]byte) bool { return false }

// plain leaves of the event in x.ans, whose message is in x.data, what it says and the place at which its stream resumes. Its kind and the time
// after which to connect again are for one server to say, and the stream is of several. ok is false when nothing is left.
func (x *exchange) plain() (ok bool) {
	id := string(message.ID(x.ans))
	x.worn = x.worn[:0]
	if id != "" {
		x.worn = append(append(append(x.worn, "id: "...), id...), '\n')
	}
	if len(x.data) > 0 {
		x.worn = AppendMessage(x.worn, x.data)
	} else {
		x.worn = append(x.worn, '\n')
	}
	x.ans, x.worn = x.worn, x.ans
	return id != "" || len(x.data) > 0
}

package several

import (
	"github.com/hopgate/hopgate/dataplane/request/message"
)

// A client takes an answer for that of the request whose id it has, on whichever stream it comes. So one of several servers could answer what
// was asked of another one. What has no place on a stream of an endpoint of several servers isn't passed on.

// mostBatched bounds the messages of one event that are looked at (MCP 2025-03-26 has batches).
const mostBatched = 100

// Stray reports whether the message of an event has no place on its stream: an answer for which mine is false, what can be read in two
// ways, or a batch with one of these or with a request, which can't be given the way back.
func Stray(data []byte, mine func(answer []byte) bool) bool {
	if len(data) == 0 {
		return false
	}
	if data[0] != '[' {
		kind, ok := kindOf(data)
		return !ok || kind == message.Response && !mine(data)
	}
	batch, err := message.SplitBatch(data, mostBatched)
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

// AnswersTo reports whether an answer is the one to the request with a raw id, or an error that names no request.
func AnswersTo(answer, id []byte) bool {
	if answers, _ := message.Answers(answer, id); answers {
		return true
	}
	var e message.Envelope
	if message.Scan(answer, message.MaxDepth, &e) != nil {
		return false
	}
	about := string(e.ID.Of(answer))
	return e.Error.Present() && (about == "" || about == "null")
}

// Own is an answer that came instead of a stream: as it is, or with the caller's id where it is an error that names another request. Empty: it
// can be read in two ways, or answers something else.
func Own(answer, id []byte) []byte {
	if len(answer) == 0 || len(id) == 0 {
		return answer
	}
	if kind, ok := kindOf(answer); !ok || kind != message.Response {
		return nil
	}
	if AnswersTo(answer, id) {
		return answer
	}
	out, ok := message.ReplaceID(nil, answer, id)
	if !ok || !message.IsError(answer) {
		return nil
	}
	return out
}

package request

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/request/several"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// acceptsEvents reports whether the caller takes an event stream. Nothing or */* means a caller like curl, who wants JSON.
func acceptsEvents(in http.Header) bool {
	for _, v := range in["Accept"] {
		if strings.Contains(v, "text/event-stream") {
			return true
		}
	}
	return false
}

// relayEvents brings an event stream, event by event, each flushed at once.
func (h *Handler) relayEvents(x *exchange, a *hop.Answer) error {
	h.cfg.Telemetry.Step(&x.rec, telemetry.StepReply)
	if err := x.reply.Stream(); err != nil {
		return clientGone(x, err)
	}
	answered, resumable, unheard := false, false, x.unheard(true)
	for {
		err := x.next(a)
		if errors.Is(err, io.EOF) || err != nil && answered {
			break
		}
		if err != nil {
			return x.cut(err, resumable)
		}
		if unheard && h.decline(x) {
			continue
		}
		if err := x.tailor(); err != nil {
			return x.cut(err, resumable)
		}
		answered = answered || h.inspect(x, a.Status)
		resumable = resumable || message.HasID(x.ans)
		if !x.isMCP() || x.dressed() && several.Stray(x.data, x.mine) {
			continue
		}
		if err := h.pass(x); err != nil {
			return err
		}
	}
	if !answered && !resumable {
		return hop.Unanswered(x.server.Name)
	}
	x.done(x.rec.Outcome)
	return nil
}

// isMCP reports whether the event in x.ans can be passed on. Its message is in x.data after it.
func (x *exchange) isMCP() (ok bool) {
	x.data, ok = message.Passable(x.data[:0], x.ans)
	return ok
}

// next reads the next event into x.ans.
func (x *exchange) next(a *hop.Answer) (err error) {
	x.ans, err = a.NextEvent(x.ans[:0], x.table.Settings().Event)
	return err
}

// inspect looks whether the event in x.ans answers the request. The message of the event is in x.data after it.
func (h *Handler) inspect(x *exchange, status int) bool {
	var ok bool
	if x.data, ok = message.Data(x.data[:0], x.ans); !ok {
		return false
	}
	answers, outcome := message.Answers(x.data, x.id())
	if answers {
		x.rec.Outcome = outcome
		h.learn(x, status, x.data)
	}
	return answers
}

// pass gives the event in x.ans to the caller. Large ones count while they are on their way, and leave no large buffers behind.
func (h *Handler) pass(x *exchange) error {
	n := 2 * int64(len(x.ans))
	if len(x.ans) > small {
		if !h.hold(x, n) {
			return crowded()
		}
		defer func() {
			h.giveBack(x, n)
			x.ans, x.data, x.worn = keep(x.ans), keep(x.data), keep(x.worn)
		}()
	}
	if err := x.reply.Event(x.ans); err != nil {
		return clientGone(x, err)
	}
	return nil
}

// cut ends an answer whose upstream stream broke. A stream with event ids can be resumed, so its caller sees the break and comes back with
// Last-Event-ID; any other gets the fault as the request's answer.
func (x *exchange) cut(err error, resumable bool) error {
	f := fault.As(x.named(err))
	if f == nil || !resumable {
		return err
	}
	x.rec.Fault = f
	x.done(x.rec.Outcome)
	x.reply.Abort()
	return nil
}

// collapse turns an event stream into the one JSON answer that a caller without Accept: text/event-stream wants.
func (h *Handler) collapse(x *exchange, a *hop.Answer) error {
	unheard := x.unheard(false)
	for {
		err := x.next(a)
		if errors.Is(err, io.EOF) {
			return hop.Unanswered(x.server.Name)
		}
		if err != nil {
			return x.named(err)
		}
		if unheard && h.decline(x) {
			continue
		}
		if err := x.tailor(); err != nil {
			return err
		}
		if !h.inspect(x, a.Status) {
			continue
		}
		if n := 2 * int64(len(x.ans)); len(x.ans) > small && !h.hold(x, n) {
			return crowded()
		}
		x.done(x.rec.Outcome)
		x.reply.Whole(http.StatusOK, reply.JSON(), x.data)
		return nil
	}
}

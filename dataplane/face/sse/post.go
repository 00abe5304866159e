package sse

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// post takes a message. Requests are accepted at once and answered on the stream; all else is served first, so that what a client sends next
// can't overtake it.
func (st *stream) post(v *request.Visit, in *request.Inbound) error {
	body, release, err := v.Body()
	if err != nil {
		return err
	}
	var e message.Envelope
	if err := message.Scan(body, v.Table().Settings().Depth, &e); err != nil {
		release()
		return err
	}
	method := e.MethodString(body)
	asks, slots := e.Kind == message.Request || e.Kind == message.Batch, st.notes
	if asks {
		slots = st.slots
	}
	if !st.enter(asks) {
		release()
		return gone()
	}
	select {
	case slots <- struct{}{}:
	default:
		release()
		st.leave(asks)
		return tooMany()
	}
	served := func() {
		release()
		<-slots
		st.leave(asks)
	}
	if !asks {
		defer served()
		return st.tell(v, in, body, method)
	}
	inner, id := st.inbound(st.ctx, in, http.MethodPost, body), bytes.Clone(e.ID.Of(body))
	go func() {
		defer served()
		defer st.recovered()
		st.ask(inner, id, method)
	}()
	v.Answer(http.StatusAccepted, nil, nil)
	return nil
}

// tell serves a notification, or the client's answer to a server.
func (st *stream) tell(v *request.Visit, in *request.Inbound, body []byte, method string) error {
	ctx, cancel := context.WithCancel(v.Context())
	defer cancel()
	defer context.AfterFunc(st.ctx, cancel)()
	c := st.capture()
	defer c.Release()
	st.handler.Serve(st.inbound(ctx, in, http.MethodPost, body), c)
	if c.Status() >= http.StatusBadRequest {
		v.Header()["X-Hopgate-Error"] = c.Header()["X-Hopgate-Error"]
		v.Answer(c.Status(), reply.JSON(), c.Body())
		return nil
	}
	if method == "notifications/initialized" {
		st.hear()
	}
	v.Answer(http.StatusAccepted, nil, nil)
	return nil
}

// ask serves a request and brings its answer.
func (st *stream) ask(in *request.Inbound, id []byte, method string) {
	c, lost := st.capture(), false
	defer c.Release()
	c.Head = func(status int, h http.Header) {
		switch {
		case method == "initialize" && status == http.StatusOK:
			st.begun(h.Get("Mcp-Session-Id"))
		case status == http.StatusNotFound && strings.Contains(h.Get("X-Hopgate-Error"), "phase=session"):
			lost = true
		}
	}
	c.Event = func(event []byte) error {
		if method == "initialize" {
			if data, ok := message.Data(nil, event); ok {
				st.agreed(data)
			}
		}
		return st.relay(event)
	}
	st.handler.Serve(in, c)
	if streamed, whole := c.Streamed(); streamed && whole || len(id) == 0 && c.Status() == http.StatusAccepted {
		return // it is out, or a batch had nothing to be answered
	}
	answer := c.Answer(id)
	if method == "initialize" {
		st.agreed(answer)
	}
	st.send(message.AppendEvent(nil, answer)) //nolint:errcheck // the client is gone or not
	if lost {
		st.cancel(errEnded) // a client of this transport begins anew with a new stream only
	}
}

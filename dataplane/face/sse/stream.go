package sse

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

// Limits of one stream.
const (
	inFlight     = 16              // messages
	goodbyeLimit = 5 * time.Second // for the end of its session
	firstPause   = time.Second     // before the server's own stream is opened again; doubled up to
	longestPause = 30 * time.Second
)

// stream is one client's way back, and the session of the endpoint behind it.
type stream struct {
	handler *request.Handler
	visit   *request.Visit
	in      *request.Inbound // of the GET; its header is only read
	path    string           // of the MCP endpoint
	ctx     context.Context
	cancel  context.CancelCauseFunc
	slots   chan struct{}
	most    int64 // bytes of one answer

	writing sync.Mutex // events go out one at a time; who brings one waits

	mu       sync.Mutex
	ended    bool           // guarded by mu
	working  sync.WaitGroup // Add guarded by mu
	session  string         // guarded by mu; "" until initialize was answered, or without sessions
	revision string         // guarded by mu; as negotiated
	hearing  bool           // guarded by mu; the server's own stream was asked for
}

func newStream(ctx context.Context, h *request.Handler, v *request.Visit, in *request.Inbound) *stream {
	st := &stream{handler: h, visit: v, in: in, path: behind(v.Door()), slots: make(chan struct{}, inFlight), most: v.Table().Settings().Result}
	st.ctx, st.cancel = context.WithCancelCause(ctx)
	return st
}

// stay tells where messages are POSTed and keeps the stream until its context ends, or its session is lost.
func (st *stream) stay(path, token string) error {
	at := strings.TrimSuffix(strings.TrimSuffix(path, "/"), "/sse") + "/message?session=" + token
	if err := st.send([]byte("event: endpoint\ndata: " + at + "\n\n")); err != nil {
		return nil //nolint:nilerr // the caller left: how such streams normally end
	}
	<-st.ctx.Done()
	return nil
}

// end returns when nobody writes to the stream any more, and its session is ended.
func (st *stream) end() {
	st.mu.Lock()
	st.ended = true
	st.mu.Unlock()
	st.cancel(errEnded)
	st.working.Wait()
	if st.session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(st.ctx), goodbyeLimit)
	defer cancel()
	in := st.inbound(ctx, st.in, http.MethodDelete, nil)
	c := st.capture()
	defer c.Release()
	st.handler.Serve(in, c)
}

// enter keeps the stream from being over until working.Done, unless it has ended.
func (st *stream) enter() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.ended {
		st.working.Add(1)
	}
	return !st.ended
}

func gone() error { return request.Gone("its stream isn't open any more", "open the stream anew") }

// send brings one event to the client.
func (st *stream) send(event []byte) error {
	st.writing.Lock()
	defer st.writing.Unlock()
	if st.ctx.Err() != nil {
		return errEnded
	}
	err := st.visit.Event(event)
	if err != nil {
		st.cancel(err)
	}
	return err
}

// relay brings an event of the endpoint behind. Those without data only mark a place where that one's stream can be resumed; this transport has
// no such thing, and its clients take every event for a message.
func (st *stream) relay(event []byte) error {
	if !message.HasData(event) {
		return nil
	}
	return st.send(event)
}

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
	if !st.enter() {
		release()
		return gone()
	}
	if e.Kind != message.Request && e.Kind != message.Batch {
		defer st.working.Done()
		defer release()
		return st.tell(v, in, body, method)
	}
	select {
	case st.slots <- struct{}{}:
	default:
		release()
		st.working.Done()
		return tooMany()
	}
	inner, id := st.inbound(st.ctx, in, http.MethodPost, body), bytes.Clone(e.ID.Of(body))
	go func() {
		defer st.working.Done()
		defer func() { release(); <-st.slots }()
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
	if streamed, whole := c.Streamed(); streamed && whole {
		return
	}
	answer := c.Answer(id)
	if method == "initialize" {
		st.agreed(answer)
	}
	st.send(request.AppendMessage(nil, answer)) //nolint:errcheck // the client is gone or not
	if lost {
		st.cancel(errEnded) // a client of this transport begins anew with a new stream only
	}
}

// begun notes the session that initialize opened.
func (st *stream) begun(session string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.session = session
}

// agreed notes the revision that the answer to initialize tells.
func (st *stream) agreed(answer []byte) {
	hello, ok := message.ReadInitialize(answer)
	if !ok || !message.Known(hello.Revision) {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.revision = hello.Revision
}

// hear opens the server's own stream of the session, once; its events go out on this one.
func (st *stream) hear() {
	st.mu.Lock()
	before := st.hearing
	st.hearing = true
	st.mu.Unlock()
	if before || !st.enter() {
		return
	}
	go func() {
		defer st.working.Done()
		for pause := firstPause; st.listen() && st.wait(pause); pause = min(2*pause, longestPause) {
		}
	}()
}

// listen relays the server's own stream until it ends. It reports whether there was one: most servers have none, and say 405.
func (st *stream) listen() bool {
	c := st.capture()
	defer c.Release()
	c.Event = st.relay
	st.handler.Serve(st.inbound(st.ctx, st.in, http.MethodGet, nil), c)
	streamed, _ := c.Streamed()
	return streamed
}

// wait lets about a pause go by.
func (st *stream) wait(pause time.Duration) bool {
	t := time.NewTimer(pause/2 + rand.N(pause)) //nolint:gosec // jitter
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-st.ctx.Done():
		return false
	}
}

func (st *stream) capture() *request.Captured {
	left := new(atomic.Int64)
	left.Store(st.most)
	return st.handler.Capture(left)
}

// inbound is a request to the endpoint behind the stream, from where from came.
func (st *stream) inbound(ctx context.Context, from *request.Inbound, method string, body []byte) *request.Inbound {
	in := *from
	in.Context, in.Method, in.Path, in.Query = ctx, method, st.path, ""
	in.Body, in.Length = bytes.NewReader(body), int64(len(body))
	in.Header = from.Header.Clone()
	for _, name := range [...]string{"Content-Encoding", "Content-Length", "Last-Event-Id", "Mcp-Session-Id"} {
		delete(in.Header, name)
	}
	in.Header["Accept"] = []string{"application/json, text/event-stream"}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.session != "" {
		in.Header["Mcp-Session-Id"] = []string{st.session}
	}
	if len(in.Header["Mcp-Protocol-Version"]) == 0 && st.revision != "" {
		in.Header["Mcp-Protocol-Version"] = []string{st.revision}
	}
	return &in
}

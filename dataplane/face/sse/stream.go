package sse

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// Limits of one stream.
const (
	inFlight     = 16              // requests, and as many other messages
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
	slots   chan struct{} // of requests
	notes   chan struct{} // of all else: who waits for an answer of the client's mustn't keep it out
	most    int64         // bytes of one answer

	writing sync.Mutex // events go out one at a time; who brings one waits

	mu       sync.Mutex
	ended    bool           // guarded by mu
	closing  bool           // guarded by mu; no requests are taken any more
	working  sync.WaitGroup // Add guarded by mu
	asking   sync.WaitGroup // Add guarded by mu; the requests among working
	telling  sync.WaitGroup // Add guarded by mu; notifications and answers among working
	session  string         // guarded by mu; "" until initialize was answered, or without sessions
	revision string         // guarded by mu; as negotiated
	hearing  bool           // guarded by mu; the server's own stream was asked for
}

func newStream(ctx context.Context, h *request.Handler, v *request.Visit, in *request.Inbound) *stream {
	st := &stream{handler: h, visit: v, in: in, path: behind(v.Door()), slots: make(chan struct{}, inFlight),
		notes: make(chan struct{}, inFlight), most: v.Table().Settings().Result}
	st.ctx, st.cancel = context.WithCancelCause(ctx)
	return st
}

// stay tells where messages are POSTed and keeps the stream until ctx ends, the caller leaves, or its session is lost. When ctx ends with a drain,
// requests under way are answered first. The error is a defect of ours.
func (st *stream) stay(ctx context.Context, path, token string) error {
	at := strings.TrimSuffix(strings.TrimSuffix(path, "/"), "/sse") + "/message?session=" + token
	if err := st.send([]byte("event: endpoint\ndata: " + at + "\n\n")); err != nil {
		return nil //nolint:nilerr // the caller left: how such streams normally end
	}
	select {
	case <-ctx.Done():
	case <-st.ctx.Done():
	}
	if st.visit.Draining() {
		st.settle()
	}
	if f := fault.As(context.Cause(st.ctx)); f != nil && f.Kind == fault.Internal {
		return f
	}
	return nil
}

// settle takes no more requests and waits for those under way, and for what is being said about them, at most as long as the drain waits for the caller's connection.
func (st *stream) settle() {
	st.mu.Lock()
	st.closing = true
	st.mu.Unlock()
	st.asking.Wait()
	st.mu.Lock()
	st.ended = true
	st.mu.Unlock()
	st.telling.Wait()
}

// recovered keeps a panic from ending more than the stream.
func (st *stream) recovered() {
	if p := recover(); p != nil {
		st.cancel(st.handler.Panicked(p, st.in.Path))
	}
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

// enter keeps the stream from being over until leave, unless it has ended or, for a request, is about to.
func (st *stream) enter(asks bool) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended || asks && st.closing {
		return false
	}
	st.working.Add(1)
	if asks {
		st.asking.Add(1)
	} else {
		st.telling.Add(1)
	}
	return true
}

func (st *stream) leave(asks bool) {
	if asks {
		st.asking.Done()
	} else {
		st.telling.Done()
	}
	st.working.Done()
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

// relay brings what an event of the endpoint behind says, and nothing else of it. Those without data only mark a place where that one's stream can
// be resumed; this transport has no such thing, and its clients take every event for a message, but for those of kind endpoint: by such a one a
// server could have a client send its messages elsewhere.
func (st *stream) relay(event []byte) error {
	data, ok := message.Data(nil, event)
	if !ok {
		return nil
	}
	return st.send(message.AppendEvent(make([]byte, 0, len(data)+64), data))
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

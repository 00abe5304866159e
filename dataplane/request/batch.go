package request

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/proto/fault"
)

// Limits of batches.
const (
	batchItems  = 50 // in one batch
	batchAtOnce = 8  // served at the same time
)

// batch serves a batch of messages (MCP 2025-03-26 only, JSON-RPC 2.0 section 6): each as a request of its own, with the same headers and
// through every stage. The answers come as one array in the order of the items or, to a caller who takes events, as one stream that has the
// events and answers of all as they come.
func (h *Handler) batch(x *exchange) error {
	if err := x.mayBatch(); err != nil {
		return err
	}
	items, err := message.SplitBatch(x.body, batchItems)
	if err != nil {
		return err
	}
	b := &bundle{h: h, x: x, items: make([]part, len(items)), events: acceptsEvents(x.in.Header), header: x.in.Header}
	if _, packed := b.header["Content-Encoding"]; packed { // it was unpacked when it was read
		b.header = b.header.Clone()
		delete(b.header, "Content-Encoding")
	}
	b.left.Store(x.table.Settings().Result)
	for i, raw := range items {
		b.items[i] = b.part(raw)
	}
	defer b.release()
	b.serve()
	return b.answer()
}

// mayBatch reports whether the caller speaks the one revision that has batches: it says so, or says nothing within a session, which by
// 2025-06-18 means 2025-03-26.
func (x *exchange) mayBatch() error {
	rev := strings.Trim(strings.Join(x.in.Header["Mcp-Protocol-Version"], ","), " \t")
	if rev == message.Rev20250326 || rev == "" && x.in.Header.Get("Mcp-Session-Id") != "" {
		return nil
	}
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Unsupported, Code: fault.CodeInvalidRequest,
		Message: "a batch of messages isn't offered here: only MCP 2025-03-26 has batches",
		Hint:    "send one message per request, or MCP-Protocol-Version: 2025-03-26; MCP removed batches in 2025-06-18"}
}

func notBatch(msg string) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Code: fault.CodeInvalidRequest, Status: http.StatusBadRequest, Message: msg}
}

// bundle is a batch under way.
type bundle struct {
	h      *Handler
	x      *exchange
	items  []part
	events bool
	header http.Header
	left   atomic.Int64 // bytes that its answers may still take

	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	begun bool  // guarded by mu; the stream has its head
	err   error // guarded by mu; of the stream
	broke error // guarded by mu; a defect of ours that ends the stream
}

// part is one item of a batch.
type part struct {
	raw, id []byte
	asks    bool // it has an answer
	lost    bool // its session isn't there any more
	refused *fault.Error
	sink    *Captured
}

// part looks at an item. What can't be read is left to the stages to refuse.
func (b *bundle) part(raw []byte) part {
	var e message.Envelope
	err := message.Scan(raw, b.x.table.Settings().Depth, &e)
	p := part{raw: raw, id: bytes.Clone(e.ID.Of(raw)), asks: err != nil || e.Kind == message.Request || e.Kind == message.Batch, sink: b.h.Capture(&b.left)}
	switch {
	case err == nil && e.Kind == message.Batch:
		p.refused = notBatch("a batch within a batch")
	case err == nil && e.MethodString(raw) == "initialize":
		p.asks, p.refused = true, notBatch("initialize can't be part of a batch")
	}
	return p
}

// serve has all items served and returns when they are.
func (b *bundle) serve() {
	b.ctx, b.cancel = context.WithCancel(b.x.ctx)
	defer b.cancel()
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(batchAtOnce, len(b.items)) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(b.items); i = int(next.Add(1)) - 1 {
				b.one(&b.items[i])
			}
		})
	}
	workers.Wait()
}

func (b *bundle) one(p *part) {
	defer b.recovered(p)
	if p.refused != nil {
		p.sink.fault, p.sink.broken = p.refused, true
	} else {
		p.sink.Head = func(status int, h http.Header) {
			p.lost = status == http.StatusNotFound && strings.Contains(first(h["X-Hopgate-Error"]), "phase=session")
		}
		if b.events {
			p.sink.Event = b.pass
		}
		in := *b.x.in
		in.Context, in.Header, in.Body, in.Length = b.ctx, b.header, bytes.NewReader(p.raw), int64(len(p.raw))
		b.h.Serve(&in, p.sink)
	}
	streamed, whole := p.sink.Streamed()
	if !b.events || !p.asks || p.lost || streamed && whole {
		return
	}
	b.pass(message.AppendEvent(nil, p.sink.Answer(p.id))) //nolint:errcheck // answer tells
	p.sink.Release()
}

// recovered keeps a panic from ending more than the item, or the stream that it may have left half written.
func (b *bundle) recovered(p *part) {
	panicked := recover()
	if panicked == nil {
		return
	}
	p.sink.fault, p.sink.broken = b.h.Panicked(panicked, b.x.rec.Path), true
	if !b.events {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broke = p.sink.fault
	b.cancel()
}

// pass sends an event of one of the items. Ids are left out: a stream of several can't be resumed by one's.
func (b *bundle) pass(event []byte) error {
	if message.HasID(event) {
		event = withoutID(event)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broke != nil {
		return b.broke
	}
	if b.err == nil && !b.begun {
		b.begun = true
		b.err = b.x.reply.Stream()
	}
	if b.err == nil {
		b.err = b.x.reply.Event(event)
	}
	if b.err != nil {
		b.cancel()
	}
	return b.err
}

// withoutID copies an event without its id lines.
func withoutID(event []byte) []byte {
	out := make([]byte, 0, len(event))
	for line := range bytes.Lines(event) {
		if !message.HasID(line) {
			out = append(out, line...)
		}
	}
	return out
}

// answer sends what wasn't sent as it came.
func (b *bundle) answer() error {
	if b.broke != nil {
		return b.broke
	}
	if b.err != nil {
		return clientGone(b.x, b.err)
	}
	if err := b.x.ctx.Err(); err != nil {
		return err
	}
	var answers [][]byte
	size, lost := 0, (*part)(nil)
	for i := range b.items {
		p := &b.items[i]
		if p.lost {
			lost = p
		}
		if p.asks && (!b.events || p.lost) {
			answers = append(answers, p.sink.Answer(p.id))
			size += len(answers[len(answers)-1]) + 1
		}
	}
	b.x.done("ok")
	switch {
	case b.begun:
		for _, a := range answers {
			b.pass(message.AppendEvent(nil, a)) //nolint:errcheck // the caller is gone or not
		}
	case lost != nil: // all items have one session, and only the status makes clients begin anew
		b.x.reply.Sink.Header()["X-Hopgate-Error"] = lost.sink.Header()["X-Hopgate-Error"]
		b.x.reply.Whole(http.StatusNotFound, reply.JSON(), lost.sink.Body())
	case len(answers) == 0:
		b.x.reply.Whole(http.StatusAccepted, nil, nil)
	default:
		b.array(answers, int64(size)+1)
	}
	return nil
}

// array sends the answers as one JSON array of a size in bytes.
func (b *bundle) array(answers [][]byte, size int64) {
	r := &b.x.reply
	r.Begin(http.StatusOK, reply.JSON(), size)
	for i, a := range answers {
		if r.Piece([]byte("[,"[min(i, 1):][:1])) != nil || r.Piece(a) != nil {
			return
		}
	}
	r.Piece([]byte("]")) //nolint:errcheck // the caller is gone or not; there is nobody else to tell
}

func (b *bundle) release() {
	for i := range b.items {
		b.items[i].sink.Release()
	}
}

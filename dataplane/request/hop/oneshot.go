package hop

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

// oneShotRevision is what the gateway speaks on behalf of a caller who named none.
const oneShotRevision = message.Rev20251125

// goodbyeTimeout bounds the DELETE that ends a one-shot session.
const goodbyeTimeout = 5 * time.Second

// OneShot prepares a call for a caller without session, version header or _meta (a bare curl): it initializes, and fills in the session
// and revision that the server then expects. After success Goodbye ends what was begun. A server that gives no session id is remembered for
// a minute and then called directly.
func (h *Hop) OneShot(ctx context.Context, c *Call, rec *telemetry.Record, now time.Time) error {
	if h.memory.sessionless(c.Server, now) {
		return nil
	}
	revision, err := h.initialize(ctx, c, rec, now)
	if err == nil && c.Session == "" {
		h.memory.note(c.Server, now).plain.Store(now.UnixNano())
		return nil
	}
	if err == nil {
		c.Revision, rec.OneShot = revision, true
		err = h.initialized(ctx, c, rec)
	}
	if err != nil {
		h.Goodbye(ctx, c)
	}
	return err
}

// initialize opens a session, if the server gives one, and returns the revision it settles on.
func (h *Hop) initialize(ctx context.Context, c *Call, rec *telemetry.Record, now time.Time) (revision string, err error) {
	hello := *c
	hello.Body = h.hello(c)
	a, err := h.Send(ctx, &hello, rec)
	if err != nil {
		return "", err
	}
	defer a.Close()
	c.Session, c.Instance = a.Session(), hello.Instance
	return h.welcome(&a, c, rec, now)
}

// hello is the initialize request of a session for one call: in the name of the caller's client where that is known, so that the server may ask
// it back.
func (h *Hop) hello(c *Call) []byte {
	if c.Capabilities == nil {
		return message.AppendInitialize(nil, h.agent, oneShotRevision)
	}
	return message.AppendHandshake(nil, []byte("1"), oneShotRevision, c.Capabilities, c.ClientInfo, h.agent)
}

// welcome reads the answer to our initialize: the revision the server settles on. A refusal is told in our words, since the server's own
// answer bears the id of a request the caller never made.
func (h *Hop) welcome(a *Answer, c *Call, rec *telemetry.Record, now time.Time) (revision string, err error) {
	s := c.Server
	var body []byte
	var refused *fault.Error
	if a.Status/100 != 2 {
		r := a.Refused(nil, s.Name, false)
		body, refused = r.Body, r.Fault
	} else if body, err = wholeAnswer(a, s.Name, c.Settings.Event); err != nil {
		return "", named(err, s.Name)
	}
	h.Learn(s, "initialize", a.Status, body, now)
	if err := h.Mixed(s, message.Legacy, rec.Method, "", now); err != nil {
		return "", err
	}
	if refused != nil {
		refused.Code = 0 // what the caller asked for is another thing
		return "", refused
	}
	revision, ok := message.InitializeResult(body)
	switch {
	case ok:
		return revision, nil
	case message.IsError(body):
		return "", &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Unsupported, Remote: true, Server: s.Name, UpstreamStatus: a.Status,
			Message: "the server " + s.Name + " refused to begin a session for this call",
			Hint:    "call it with an MCP client, or look at the server's own log"}
	}
	return "", a.NotMCP(s.Name, body)
}

// Forget makes the next one-shot call ask for a session again: the server refused a call without one.
func (h *Hop) Forget(c *Call) {
	if f := h.memory.of(c.Server); f != nil {
		f.plain.Store(0)
	}
}

func (h *Hop) initialized(ctx context.Context, c *Call, rec *telemetry.Record) error {
	note := *c
	note.Body = message.AppendInitialized(nil)
	a, err := h.Send(ctx, &note, rec)
	if err != nil {
		return err
	}
	a.Close()
	return nil
}

// Goodbye ends the session of a one-shot call, even when the caller has gone meanwhile. It does nothing for a call without a session.
func (h *Hop) Goodbye(ctx context.Context, c *Call) {
	if c.Session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTimeout)
	defer cancel()
	bye := *c
	bye.Method, bye.Body = http.MethodDelete, nil
	var rec telemetry.Record // its timing is nobody's business
	if a, err := h.Send(ctx, &bye, &rec); err == nil {
		a.Close()
	}
}

// wholeAnswer reads the JSON-RPC response out of a JSON body or an event stream.
func wholeAnswer(a *Answer, server string, limit int64) ([]byte, error) {
	if a.Type != transport.SSE {
		return a.ReadAll(nil, limit)
	}
	var event, data []byte
	for {
		var err error
		event, err = a.NextEvent(event[:0], limit)
		if errors.Is(err, io.EOF) {
			return nil, Unanswered(server)
		}
		if err != nil {
			return nil, err
		}
		var ok bool
		if data, ok = message.Data(data[:0], event); ok && message.IsResponse(data) {
			return data, nil
		}
	}
}

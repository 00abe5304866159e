package leg

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// mostOfOther bounds what is looked at of an answer that isn't MCP, in bytes.
const mostOfOther = 64 << 10

// Answer sends a request and returns the message that answers it: a result or a JSON-RPC error. session is the id that came with it.
func (l *Leg) Answer(ctx context.Context, body []byte) (data []byte, sessionID string, err error) {
	l.Call.Body = body
	a, err := l.m.cfg.Hop.Send(ctx, &l.Call, &l.rec)
	l.silent = err != nil && 2*l.rec.Upstream.End.Sub(l.rec.Upstream.Start) >= l.Member.Server.Timeouts.List // as hop.Hop judges
	if err != nil {
		return nil, "", err
	}
	defer a.Close()
	name := l.Member.Server.Name
	if a.Status/100 != 2 {
		r := a.Refused(nil, name, l.Call.Session != "")
		l.disbelieved(a.Status)
		l.m.cfg.Hop.Learn(l.Member.Server, l.rec.Method, a.Status, r.Body, l.now)
		if a.Status == http.StatusNotFound && r.Body != nil && (l.era == message.Modern || l.Call.Session != "" && r.Fault.Kind == fault.Unsupported) {
			return r.Body, "", nil // 2026-07-28: so comes the error for an unknown method; servers of both eras do it in both
		}
		return nil, "", r.Fault
	}
	data, err = l.read(ctx, &a)
	if err != nil {
		return nil, "", hop.OfServer(err, name)
	}
	l.m.cfg.Hop.Learn(l.Member.Server, l.rec.Method, a.Status, data, l.now)
	return data, a.Session(), nil
}

func (l *Leg) disbelieved(status int) {
	if status == http.StatusUnauthorized && !l.Member.Server.Plain {
		l.m.cfg.Credentials.Refused(&l.ask)
	}
}

// read takes the answer out of a JSON body or an event stream. What else is on the stream is for nobody: a list or handshake of ours was
// asked for.
func (l *Leg) read(ctx context.Context, a *hop.Answer) (data []byte, err error) {
	limit := l.Call.Settings.Event
	switch a.Type {
	case transport.JSON:
		if l.walks {
			data, err = l.page(ctx, a)
		} else {
			data, err = a.ReadAll(nil, limit)
		}
		if err == nil && !message.IsResponse(data) {
			return nil, a.NotMCP(l.Member.Server.Name, data)
		}
		return data, err
	case transport.SSE:
		if l.walks {
			return l.page(ctx, a)
		}
		return firstResponse(a, l.Member.Server.Name, limit)
	}
	body, _ := a.ReadAll(nil, mostOfOther) //nolint:errcheck // half a page tells as much
	return nil, a.NotMCP(l.Member.Server.Name, body)
}

func firstResponse(a *hop.Answer, server string, limit int64) ([]byte, error) {
	var event, data []byte
	for {
		var err error
		event, err = a.NextEvent(event[:0], limit)
		if errors.Is(err, io.EOF) {
			return nil, hop.Unanswered(server)
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

// Send delivers a notification or an answer; whatever 2xx comes back will do.
func (l *Leg) Send(ctx context.Context, body []byte) error {
	l.Call.Body, l.silent = body, false
	a, err := l.m.cfg.Hop.Send(ctx, &l.Call, &l.rec)
	if err != nil {
		return err
	}
	defer a.Close()
	if a.Status/100 == 2 {
		return nil
	}
	l.disbelieved(a.Status)
	return a.Refused(nil, l.Member.Server.Name, l.Call.Session != "").Fault
}

// Open begins a session of the leg's own, for a server of which the caller's session holds none.
func (l *Leg) Open(ctx context.Context, capabilities, client []byte) (message.Hello, error) {
	offer := message.Rev20251125
	if message.Known(l.Call.Revision) {
		offer = l.Call.Revision
	}
	method := l.rec.Method
	l.rec.Method = "initialize"
	l.Call.Session, l.Call.Revision, l.Call.Repeatable = "", "", true
	data, id, err := l.Answer(ctx, message.AppendHandshake(nil, []byte("1"), offer, capabilities, client, l.m.cfg.Agent))
	l.rec.Method, l.Call.Repeatable = method, false
	if err != nil {
		return message.Hello{}, err
	}
	hello, ok := message.ReadInitialize(data)
	if !ok {
		return hello, l.notGreeted()
	}
	l.Call.Session, l.Call.Revision, l.own = id, hello.Revision, true
	l.told(nil)
	l.Announced(&hello)
	return hello, nil
}

func (l *Leg) notGreeted() error {
	name := l.Member.Server.Name
	f := &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Unsupported, Remote: true, Server: name,
		Message: "the server " + name + " refused to begin a session", Hint: "look at the server's own log"}
	if l.m.cfg.Hop.Known(l.Member.Server, l.now).NotLegacy {
		f.Code, f.Message, f.Hint = fault.CodeVersion, "the server "+name+" speaks a later era of MCP, without sessions", "use a client of revision 2026-07-28"
	}
	return f
}

// Initialized ends the handshake that Open began.
func (l *Leg) Initialized(ctx context.Context) error {
	return l.Send(ctx, message.AppendInitialized(nil))
}

// Close ends a session of the leg's own.
func (l *Leg) Close(ctx context.Context) {
	if l.own {
		l.m.cfg.Hop.Goodbye(ctx, &l.Call)
		l.own = false
	}
}

// Announced takes in what the server said of itself.
func (l *Leg) Announced(hello *message.Hello) { l.m.announced.note(l.Member.Server, hello) }

// endTimeout bounds the end of a caller's session. It is ended even if the caller leaves meanwhile.
const endTimeout = 5 * time.Second

// End ends the caller's session of the server, if it has one. hop.SessionLost of the error: it was gone already.
func (l *Leg) End(ctx context.Context) error {
	if l.Call.Session == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	l.Call.Method, l.Call.Body = http.MethodDelete, nil
	a, err := l.m.cfg.Hop.Send(ctx, &l.Call, &l.rec)
	if err != nil {
		return err
	}
	defer a.Close()
	if a.Status == http.StatusNotFound {
		return a.Refused(nil, l.Member.Server.Name, true).Fault
	}
	return nil
}

// Ping asks the server whether it still knows the caller's session. Whatever error it is, hop.SessionLost says whether it doesn't.
func (l *Leg) Ping(ctx context.Context) error {
	l.rec.Method, l.Call.Repeatable = "ping", true
	_, _, err := l.Answer(ctx, message.AppendAsk(nil, message.Ask{ID: "hopgate-" + rand.Text(), Method: l.rec.Method, Revision: l.Call.Revision,
		Traceparent: l.Call.Traceparent}))
	return err
}

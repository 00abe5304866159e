package leg

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
)

// Watch listens to what the server tells of its lists, in a session or a subscription of its own.
func (s *source) Watch(ctx context.Context, changed func(catalogue.Kind)) error {
	err := s.watch(ctx, changed)
	if errors.Is(err, errors.ErrUnsupported) {
		s.seed.m.announced.mute(s.seed.Member.Server)
	}
	return err
}

func (s *source) watch(ctx context.Context, changed func(catalogue.Kind)) error {
	l := s.seed
	l.rec.Server = l.Member.Server.Name
	if err := l.Prepare(ctx); err != nil {
		return err
	}
	l.Call.Stream = true
	if l.era == message.Modern {
		l.Call.MCPMethod = "subscriptions/listen"
		l.Call.Body = message.AppendWatch(nil, message.Ask{ID: "hopgate-watch", Method: "subscriptions/listen", Revision: l.Call.Revision,
			Capabilities: s.capabilities, ClientInfo: s.client})
		return l.watch(ctx, changed)
	}
	l.live = false
	hello, err := l.Open(ctx, []byte("{}"), nil)
	if err != nil {
		return err
	}
	defer l.Close(context.WithoutCancel(ctx))
	if !tellsAny(&hello) || l.Call.Session == "" {
		return errors.ErrUnsupported
	}
	if err := l.Initialized(ctx); err != nil {
		return err
	}
	l.Call.Method, l.Call.Body = http.MethodGet, nil
	return l.watch(ctx, changed)
}

func tellsAny(hello *message.Hello) bool {
	for _, list := range [...]string{"tools", "prompts", "resources"} {
		if message.TellsChanges(hello.Capabilities, list) {
			return true
		}
	}
	return false
}

// watch opens the stream and reads it to its end.
func (l *Leg) watch(ctx context.Context, changed func(catalogue.Kind)) error {
	a, err := l.m.cfg.Hop.Send(ctx, &l.Call, &l.rec)
	if err != nil {
		return err
	}
	defer a.Close()
	switch {
	case a.Status == http.StatusMethodNotAllowed, a.Status == http.StatusNotFound && l.era == message.Modern:
		return errors.ErrUnsupported
	case a.Status/100 == 2 && a.Type != transport.SSE: // an error, most likely that there is no such method
		return errors.ErrUnsupported
	case a.Status/100 != 2:
		return a.Refused(nil, l.Member.Server.Name, l.Call.Session != "").Fault
	}
	changed(catalogue.Any)
	return l.hear(ctx, &a, changed)
}

// hear reads what the server tells. A ping is answered: it would take us for dead.
func (l *Leg) hear(ctx context.Context, a *hop.Answer, changed func(catalogue.Kind)) error {
	var event, data []byte
	for {
		var err error
		if event, err = a.NextEvent(event[:0], l.Call.Settings.Event); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var ok bool
		if data, ok = message.Data(data[:0], event); !ok {
			continue
		}
		for _, kind := range ChangedBy(message.Method(data)) {
			changed(kind)
		}
		if id, method, asks := message.IsServerRequest(data); asks && method == "ping" {
			if err := l.pong(ctx, id); err != nil {
				return err
			}
		}
	}
}

func (l *Leg) pong(ctx context.Context, id []byte) error {
	answer := Leg{m: l.m, Member: l.Member, Call: l.Call, ask: l.ask, era: l.era, now: l.now}
	answer.Call.Method, answer.Call.Stream = http.MethodPost, false
	return answer.Send(ctx, message.AppendResult(nil, id, []byte("{}")))
}

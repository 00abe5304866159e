package request

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
		s.seed.h.told.mute(s.seed.member.Server)
	}
	return err
}

func (s *source) watch(ctx context.Context, changed func(catalogue.Kind)) error {
	l := s.seed
	l.rec.Server = l.member.Server.Name
	if err := l.prepare(ctx); err != nil {
		return err
	}
	l.call.Stream = true
	if l.era == message.Modern {
		l.call.MCPMethod = "subscriptions/listen"
		l.call.Body = message.AppendWatch(nil, message.Ask{ID: "hopgate-watch", Method: "subscriptions/listen", Revision: l.call.Revision,
			Capabilities: s.capabilities, ClientInfo: s.client})
		return l.watch(ctx, changed)
	}
	l.live = false
	hello, err := l.open(ctx, []byte("{}"), nil)
	if err != nil {
		return err
	}
	defer l.close(context.WithoutCancel(ctx))
	if !tellsAny(&hello) || l.call.Session == "" {
		return errors.ErrUnsupported
	}
	if err := l.initialized(ctx); err != nil {
		return err
	}
	l.call.Method, l.call.Body = http.MethodGet, nil
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
func (l *leg) watch(ctx context.Context, changed func(catalogue.Kind)) error {
	a, err := l.h.cfg.Hop.Send(ctx, &l.call, &l.rec)
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
		return a.Refused(nil, l.member.Server.Name, l.call.Session != "").Fault
	}
	changed(catalogue.Any)
	return l.hear(ctx, &a, changed)
}

// hear reads what the server tells. A ping is answered: it would take us for dead.
func (l *leg) hear(ctx context.Context, a *hop.Answer, changed func(catalogue.Kind)) error {
	var event, data []byte
	for {
		var err error
		if event, err = a.NextEvent(event[:0], l.call.Settings.Event); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var ok bool
		if data, ok = message.Data(data[:0], event); !ok {
			continue
		}
		for _, kind := range changedBy(message.Method(data)) {
			changed(kind)
		}
		if id, method, asks := message.IsServerRequest(data); asks && method == "ping" {
			if err := l.pong(ctx, id); err != nil {
				return err
			}
		}
	}
}

func (l *leg) pong(ctx context.Context, id []byte) error {
	answer := leg{h: l.h, member: l.member, call: l.call, ask: l.ask, era: l.era, now: l.now}
	answer.call.Method, answer.call.Stream = http.MethodPost, false
	return answer.send(ctx, message.AppendResult(nil, id, []byte("{}")))
}

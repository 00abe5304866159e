package several

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/names"
)

// acknowledged is how a server says what of a subscription it honours, before all else (2026-07-28, subscriptions).
const acknowledged = "notifications/subscriptions/acknowledged"

// mostEarly and mostEarlyBytes bound what is kept of what servers say while others have yet to acknowledge; beyond, nobody is waited for.
const (
	mostEarly      = 256
	mostEarlyBytes = 1 << 20
)

// accord is what the servers of a merged subscription have acknowledged so far. One goroutine uses it.
type accord struct {
	waiting map[string]waited // by server
	want    message.Listen    // in the endpoint's names
	flags   message.Listen    // honoured by any
	uris    map[string]struct{}
	early   []heard // in the order in which they came
	size    int     // bytes of early
	missed  bool    // a stream stands again
}

// waited is a server that has yet to answer.
type waited struct {
	part  message.Listen // what it was asked for
	until time.Time
}

// heard is an event of a server.
type heard struct {
	server string
	event  []byte
}

func newAccord(shares []share, want message.Listen) *accord {
	a := &accord{waiting: make(map[string]waited, len(shares)), want: want, uris: map[string]struct{}{}}
	now := time.Now()
	for _, l := range shares {
		a.waiting[l.Member.Server.Name] = waited{part: l.part, until: now.Add(l.Member.Server.Timeouts.List)}
	}
	return a
}

// reach waits until each server has acknowledged, has failed, or has had its time. It returns false when the streams ended.
func (a *accord) reach(f *gather.Funnel) bool {
	for {
		wait, ok := a.patience()
		if !ok {
			return true
		}
		server, event, err := f.NextWithin(wait)
		switch {
		case errors.Is(err, gather.ErrQuiet):
		case errors.Is(err, gather.ErrGap):
			a.missed = true
		case err != nil:
			return false
		default:
			a.take(server, event)
		}
	}
}

// patience is how long there is still to wait, and false when there is nobody to wait for.
func (a *accord) patience() (wait time.Duration, ok bool) {
	now := time.Now()
	for server, w := range a.waiting {
		left := w.until.Sub(now)
		if left <= 0 {
			delete(a.waiting, server)
			continue
		}
		if !ok || left < wait {
			wait, ok = left, true
		}
	}
	return wait, ok && len(a.early) < mostEarly && a.size < mostEarlyBytes
}

// take takes in what a server said.
func (a *accord) take(server string, event []byte) {
	if bytes.Equal(event, failedFirst) {
		delete(a.waiting, server)
		return
	}
	data, ok := message.Data(nil, event)
	switch {
	case !ok:
	case message.Method(data) == acknowledged:
		if w, ok := a.waiting[server]; ok {
			delete(a.waiting, server)
			a.honour(server, w.part, data)
		}
	default:
		if message.IsResponse(data) { // it refuses, or ends at once
			delete(a.waiting, server)
		}
		a.early, a.size = append(a.early, heard{server, bytes.Clone(event)}), a.size+len(event)
	}
}

// honour adds what a server acknowledges of what it was asked for. One that doesn't say what it honours has taken it as asked.
func (a *accord) honour(server string, part message.Listen, data []byte) {
	said := part
	var e message.Envelope
	if err := message.Scan(data, message.MaxDepth, &e); err != nil {
		return
	}
	if l, err := message.ReadListen(data, &e); err == nil {
		said = l
	}
	a.flags.Tools = a.flags.Tools || part.Tools && said.Tools
	a.flags.Prompts = a.flags.Prompts || part.Prompts && said.Prompts
	a.flags.Resources = a.flags.Resources || part.Resources && said.Resources
	for _, uri := range part.URIs {
		if slices.Contains(said.URIs, uri) {
			a.uris[names.WrapURI(server, uri)] = struct{}{}
		}
	}
}

// honoured is what somebody tells, of what the caller wants and in its order.
func (a *accord) honoured() message.Listen {
	l := a.flags
	for _, uri := range a.want.URIs {
		if _, ok := a.uris[uri]; ok {
			l.URIs = append(l.URIs, uri)
		}
	}
	return l
}

// failedFirst is what a heralded stream says before it fails: a comment, which nobody sees.
var failedFirst = []byte(": failed\n\n")

// heralding opens a server's streams so that the failure of the first is seen among the events.
func heralding(open opener) opener {
	first := true
	return func(ctx context.Context) (gather.Events, error) {
		e, err := open(ctx)
		if !first {
			return e, err
		}
		first = false
		return &heralded{Events: e, err: err}, nil
	}
}

// heralded is a stream whose failure, to open or later, is told as an event of its own before it is one.
type heralded struct {
	gather.Events // nil when it couldn't be opened
	err           error
	told          bool
}

// NextEvent is that of gather.Events.
func (h *heralded) NextEvent(dst []byte, limit int64) ([]byte, error) {
	if h.err == nil {
		out, err := h.Events.NextEvent(dst, limit)
		if err == nil {
			return out, nil
		}
		dst, h.err = dst[:len(dst):len(dst)], err
	}
	if !h.told {
		h.told = true
		return append(dst, failedFirst...), nil
	}
	return dst, h.err
}

// Close is that of gather.Events.
func (h *heralded) Close() {
	if h.Events != nil {
		h.Events.Close()
	}
}

package leg

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

const (
	// mostOfPage bounds one page of a server's list that is read for the catalogue.
	mostOfPage = 4 << 20
	// firstOfPage is how much of it is read at first.
	firstOfPage = 16 << 10
)

// pageLimit is how large a page may be: no larger than an event.
func pageLimit(s *table.Settings) int64 {
	if s.Event > 0 && s.Event < mostOfPage {
		return s.Event
	}
	return mostOfPage
}

// paged reads a page, or the answer to the handshake before it, and counts what it holds meanwhile in the catalogue.
type paged struct {
	ctx   context.Context
	from  *hop.Answer
	limit int64
	buf   []byte
}

// page takes the answer of a walk out of a JSON body or an event stream.
func (l *Leg) page(ctx context.Context, a *hop.Answer) ([]byte, error) {
	catalogue.Reached(ctx, fault.Body)
	p := &paged{ctx: ctx, from: a, limit: pageLimit(l.Call.Settings)}
	if a.Type == transport.JSON {
		return p.whole()
	}
	data, err := p.event()
	if errors.Is(err, io.EOF) {
		return nil, hop.Unanswered(l.Member.Server.Name)
	}
	return data, err
}

func (p *paged) whole() ([]byte, error) {
	if p.from.Length() > p.limit {
		return nil, p.tooLarge()
	}
	for {
		switch err := p.more(); {
		case errors.Is(err, io.EOF):
			return p.buf, nil
		case err != nil:
			return nil, err
		}
	}
}

// more reads some more of the body behind what is there.
func (p *paged) more() error {
	if len(p.buf) == cap(p.buf) {
		to := min(max(firstOfPage, 2*cap(p.buf)), int(p.limit)+1)
		if err := catalogue.Reserve(p.ctx, int64(to-cap(p.buf))); err != nil {
			return err
		}
		p.buf = append(make([]byte, 0, to), p.buf...)
	}
	n, err := p.from.Read(p.buf[len(p.buf):cap(p.buf)])
	if p.buf = p.buf[:len(p.buf)+n]; int64(len(p.buf)) > p.limit {
		return p.tooLarge()
	}
	if n > 0 {
		return nil
	}
	return err
}

// event reads the events of a stream up to the one that answers; what else is on it is for nobody. As elsewhere, one that lacks its empty line at
// the end of the stream counts (transport.Response.NextEvent). io.EOF: none answers.
func (p *paged) event() ([]byte, error) {
	from, at := 0, 0         // where the event begins, and up to where the buffer was looked at
	blank, cr := true, false // the line has nothing in it yet; the byte before was a CR
	for {
		for ; at < len(p.buf); at++ {
			c := p.buf[at]
			if c == '\n' && cr {
				cr = false
				continue
			}
			if cr = c == '\r'; !cr && c != '\n' {
				blank = false
				continue
			}
			if blank {
				if data, err := p.answers(p.buf[from:at]); data != nil || err != nil {
					return data, err
				}
				from = at + 1
			}
			blank = true
		}
		p.buf = p.buf[:copy(p.buf, p.buf[from:])]
		from, at = 0, len(p.buf)
		if err := p.more(); err != nil {
			if !errors.Is(err, io.EOF) {
				return nil, err
			}
			data, err := p.answers(append(p.buf, '\n'))
			if data == nil && err == nil {
				err = io.EOF
			}
			return data, err
		}
	}
}

// answers returns the data of an event if it is the answer.
func (p *paged) answers(event []byte) ([]byte, error) {
	event = bytes.TrimPrefix(event, []byte("\ufeff"))
	if !bytes.Contains(event, []byte("data")) {
		return nil, nil
	}
	if err := catalogue.Reserve(p.ctx, int64(len(event))); err != nil {
		return nil, err
	}
	if data, ok := message.Data(make([]byte, 0, len(event)), event); ok && message.IsResponse(data) {
		return data, nil
	}
	return nil, catalogue.Reserve(p.ctx, -int64(len(event)))
}

func (p *paged) tooLarge() error {
	hint := "let it list on smaller pages"
	size := strconv.Itoa(mostOfPage>>20) + " MiB"
	if p.limit < mostOfPage {
		size, hint = strconv.FormatInt(p.limit, 10)+" bytes", hint+", or raise limits.event"
	}
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.TooLarge, Message: "the server answered with a page of more than " + size, Hint: hint}
}

// Timely greets the server by do, within ctx, unless it ran out of time with that lately: then the fault is there at once, so that a server which
// hangs behind its head costs greetings its time once.
func (l *Leg) Timely(ctx context.Context, r *Request, kind catalogue.Kind, do func() error) error {
	s := l.Member.Server
	return l.m.cfg.Lore.Timely(ctx, s, kind, r.scope(s), func() error { return l.late(do()) })
}

// late marks the end of a walk's time where the server hadn't begun to answer. Its breaker counts that; without one the catalogue does.
func (l *Leg) late(err error) error {
	if l.silent && l.Member.Server.Resilience.BreakerFailures > 0 && errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(catalogue.ErrUnanswered, err)
	}
	return err
}

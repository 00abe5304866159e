package peer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/proto/fault"
)

// mostHead is how large a head may become, in bytes, and still be taken by its owner; Host, lengths and the like come on top.
const mostHead = 31 << 10

// Forward hands a request to its owner, which has proved that it is, and brings the answer, piece by piece as it comes. owner is what Self said
// there. in is as Arrived told of one that wasn't forwarded yet. An error means that nothing was answered: an owner that can't be reached, or that
// doesn't prove itself, is a session not found, so that the client begins anew, and the log says at which address and why.
func (p *Peers) Forward(ctx context.Context, owner string, in *request.Inbound, sink reply.Sink) error {
	at, known := parsePlace(owner)
	switch {
	case in.Header.Get(Header) != "" || in.Forwarded || owner == "":
		return notFound("the session is held by a data plane that can't be reached from here", "begin anew", nil)
	case !known:
		return notFound("the session is of an earlier version of this gateway", "begin anew", nil)
	case at.address == p.self.address:
		return notFound("the data plane that held the session has been started anew", "begin anew", nil)
	}
	req, err := p.request(ctx, at, in)
	if err != nil {
		return err
	}
	if b, ok := req.Body.(*lent); ok {
		defer b.end()
	}
	res, err := p.client.RoundTrip(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return p.lost(at, err)
	}
	defer res.Body.Close() //nolint:errcheck // what counts was read
	if res.StatusCode/100 == 3 || res.StatusCode < 200 {
		return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.Unreachable, Status: http.StatusBadGateway,
			Message: "what answers at the address of another data plane isn't one", Hint: "check the address that data planes advertise"}
	}
	bring(res, sink)
	return nil
}

// lost is the fault of an owner that didn't get the request.
func (p *Peers) lost(at place, err error) error {
	var stranger *unproved
	if !errors.As(err, &stranger) {
		p.told.say(at.address, p.cfg.Now(), func() {
			p.cfg.Log.Info("the data plane of a session can't be reached", "address", at.address, "error", err)
		})
		return notFound("the data plane that holds the session can't be reached", "begin anew", err)
	}
	p.told.say(at.address, p.cfg.Now(), func() {
		p.cfg.Log.Warn("the data plane of a session isn't at its address any more; no request was sent there", "address", at.address, "error", err)
	})
	return notFound("the data plane that held the session isn't at its address any more", "begin anew", err)
}

// request is in as it goes to the owner: without a header but the note, which has it sealed.
func (p *Peers) request(ctx context.Context, at place, in *request.Inbound) (*http.Request, error) {
	note, err := p.note(at.process, in)
	switch {
	case errors.Is(err, seal.ErrTooLarge), len(in.Path)+len(in.Query)+len(note) > mostHead:
		return nil, &fault.Error{Hop: fault.Client, Phase: fault.Limit, Kind: fault.TooLarge, Status: http.StatusRequestHeaderFieldsTooLarge, Err: err,
			Message: "the request's header is too large to be handed on to the data plane that holds the session",
			Hint:    "send less than 20 KiB of headers, or have the balancer keep each session on one data plane"}
	case err != nil:
		return nil, notFound("the session is held by another data plane, and the way to it can't be sealed", "begin anew", err)
	}
	scheme, host := at.parts()
	url := scheme + "://" + at.pool() + in.Path
	if in.Query != "" {
		url += "?" + in.Query
	}
	req, err := http.NewRequestWithContext(ctx, in.Method, url, nil)
	if err != nil {
		return nil, notFound("the session's owner has no address", "begin anew", err)
	}
	if in.Length != 0 && in.Body != nil {
		req.Body, req.ContentLength = &lent{r: in.Body}, in.Length
	}
	req.Host = host
	req.Header = http.Header{Header: {note}, "User-Agent": {""}} // else net/http tells its own
	return req, nil
}

// lent is a request's body for as long as Forward lasts. An owner may answer before it has all of it, and the client then goes on reading.
type lent struct {
	mu sync.Mutex
	r  io.Reader // guarded by mu; nil: it isn't ours any more
}

// Read reads on.
func (b *lent) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.r == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.r.Read(p)
}

// Close does nothing: the body is its front's.
func (b *lent) Close() error { return nil }

// end gives the body back.
func (b *lent) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r = nil
}

// ofConnection reports whether a header field belongs to one connection (RFC 9110 section 7.6.1), or is a body's length, which comes with the
// body. What Connection names beside that stays: a caller could make the owner see less of the way than we did.
func ofConnection(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Content-Length":
		return true
	}
	return false
}

// bring sends the owner's answer. After its head is out, a failure breaks it off.
func bring(res *http.Response, sink reply.Sink) {
	to := sink.Header()
	for k, v := range res.Header {
		if k == "Content-Length" || !ofConnection(k) {
			to[k] = slices.Clone(v)
		}
	}
	sink.WriteHeader(res.StatusCode)
	buf := make([]byte, 16<<10)
	for {
		n, err := res.Body.Read(buf)
		if n > 0 {
			if _, werr := sink.Write(buf[:n]); werr != nil {
				sink.Abort()
				return
			}
			if sink.Flush() != nil {
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			sink.Abort()
			return
		}
	}
}

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
	"github.com/hopgate/hopgate/proto/fault"
)

// Forward hands a request to its owner and brings the answer, piece by piece as it comes. in is as Arrived told of one that wasn't forwarded
// yet. An error means that nothing was answered: an owner that can't be reached is a session not found, so that the client begins anew.
func (p *Peers) Forward(ctx context.Context, owner string, in *request.Inbound, sink reply.Sink) error {
	if in.Header.Get(Header) != "" || owner == "" {
		return notFound("the session is held by a data plane that can't be reached from here", "begin anew", nil)
	}
	req, err := p.request(ctx, owner, in)
	if err != nil {
		return err
	}
	if b, ok := req.Body.(*lent); ok {
		defer b.end()
	}
	client := p.client
	if in.Method == http.MethodGet {
		client = p.streams
	}
	res, err := client.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return notFound("the data plane that holds the session can't be reached", "begin anew", err)
	}
	defer res.Body.Close() //nolint:errcheck // what counts was read
	if res.StatusCode/100 == 3 || res.StatusCode < 200 {
		return &fault.Error{Hop: fault.Gateway, Phase: fault.Route, Kind: fault.Unreachable, Status: http.StatusBadGateway,
			Message: "what answers at the address of another data plane isn't one", Hint: "check the address that data planes advertise"}
	}
	bring(res, sink)
	return nil
}

// request is in as it goes to the owner.
func (p *Peers) request(ctx context.Context, owner string, in *request.Inbound) (*http.Request, error) {
	note, err := p.note(in)
	if err != nil {
		return nil, notFound("the session is held by another data plane, and the way to it can't be sealed", "begin anew", err)
	}
	url := owner + in.Path
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
	req.Host = in.Host
	req.Header = in.Header.Clone() // values, too: they may be written when the answer is here already
	dropHops(req.Header)
	req.Header[Header] = []string{note}
	if _, told := req.Header["User-Agent"]; !told {
		req.Header["User-Agent"] = []string{""} // else net/http tells its own
	}
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

// dropHops takes out what belongs to one connection (RFC 9110 section 7.6.1). What Connection names beside that stays: a caller could make the
// owner see less of the way than we did.
func dropHops(h http.Header) {
	for _, name := range [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect"} {
		delete(h, name)
	}
}

// bring sends the owner's answer. After its head is out, a failure breaks it off.
func bring(res *http.Response, sink reply.Sink) {
	dropHops(res.Header)
	to := sink.Header()
	for k, v := range res.Header {
		to[k] = slices.Clone(v)
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

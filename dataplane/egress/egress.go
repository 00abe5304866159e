// Package egress is the HTTP client for what the gateway asks on its own behalf: key sets, metadata and tokens of authorization servers.
// Calls of MCP go through request/hop/transport, never through here.
//
// It promises:
//   - Every failure is a *fault.Error of hop authserver with its phase; Message and Hint hold no address, no path and no peer text, and the
//     cause is kept in Err without the URL. An answer with any status is no failure: the caller judges it.
//   - A request is repeated only if it asks for Retries, and then only after faults of the connection and the answers 429 and 5xx. The
//     one exception is net/http's: a GET on a kept connection that turned out dead before it answered is sent again on a new one.
//   - Redirects are never followed, no proxy is taken from the environment, an answer's head and body are bounded, and everything
//     together, retries and waits included, ends within the request's Timeout.
//   - A request with Stranger set, whose URL came from somebody who isn't the operator, reaches public addresses over https only. The
//     address that was checked is the address that is dialled; no name is resolved twice.
//   - After Close nothing of it runs and no connection is open.
//
// It refuses: HTTP/2, content codings, and URLs with userinfo.
package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/hopgate/hopgate/proto/fault"
	"github.com/hopgate/hopgate/proto/netrange"
)

// Defaults and bounds.
const (
	DefaultLimit   = 64 << 10         // bytes of an answer's body
	DefaultTimeout = 10 * time.Second // of a request with its retries
	MostRetries    = 5                // more aren't made
	mostWait       = 2 * time.Second  // between two attempts
	leastWait      = 100 * time.Millisecond
	headLimit      = 64 << 10 // bytes of an answer's head
)

// Resolver turns a host name into addresses; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config says how connections are made. The zero value works.
type Config struct {
	// Allow are ranges that requests with Stranger may reach although they aren't public. Default: none.
	Allow netrange.Set
	// Resolver resolves host names. Default net.DefaultResolver.
	Resolver Resolver
	// DialContext opens TCP connections; addr is an IP address and port. Default: a net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Request is one request. It isn't changed; the same value may be sent again.
type Request struct {
	Method string // GET when empty
	URL    string // absolute, http or https
	Header http.Header
	Body   []byte
	// TLS is how to verify the peer; nil: the system's roots and the URL's host. Connections are kept per pointer.
	TLS *tls.Config
	// Limit bounds the answer's body in bytes. Default 64 KiB.
	Limit int64
	// Timeout bounds everything. Default 10 s.
	Timeout time.Duration
	// Retries is how often it may be sent again, at most 5. Default 0.
	Retries int
	// Stranger says that the URL came from somebody else than the operator.
	Stranger bool
	// Phase is the phase of faults behind the TLS handshake: fault.Token or fault.Exchange. Zero: fault.Headers and fault.Body.
	Phase fault.Phase
}

// Answer is what came back, whatever its status.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Client sends requests. Its methods may be called from many goroutines.
type Client struct {
	cfg  Config // read-only after New
	base context.Context
	end  context.CancelFunc

	mu     sync.Mutex
	lanes  map[laneKey]*lane // guarded by mu
	clock  uint64            // guarded by mu; orders the use of lanes
	closed bool              // guarded by mu
	busy   sync.WaitGroup    // calls and dials; Add only under mu while not closed
}

// New returns a client. It opens nothing.
func New(cfg Config) (*Client, error) {
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.DialContext == nil {
		cfg.DialContext = (&net.Dialer{}).DialContext
	}
	c := &Client{cfg: cfg, lanes: map[laneKey]*lane{}}
	c.base, c.end = context.WithCancel(context.Background())
	return c, nil
}

// Close ends the calls under way, waits for them and closes every connection. Later calls fail.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.busy.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, l := range c.lanes {
		l.retire()
		delete(c.lanes, k)
	}
}

// begin counts a call or a dial in; false after Close.
func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.busy.Add(1)
	return true
}

// Do sends r and reads the whole answer. When ctx ends first, the fault has kind timed_out and errors.Is finds ctx's error in it.
func (c *Client) Do(ctx context.Context, r *Request) (*Answer, error) {
	if !c.begin() {
		return nil, internal(errClosed)
	}
	defer c.busy.Done()
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, unusable(r.Stranger)
	}
	if r.Stranger {
		if err := mayVisit(u); err != nil {
			return nil, err
		}
	}
	x := &exchange{request: r, caller: ctx}
	ctx, cancel := context.WithTimeout(x.traced(ctx), positive(r.Timeout, DefaultTimeout))
	defer cancel()
	defer context.AfterFunc(c.base, cancel)()
	return x.do(ctx, c.lane(r))
}

var errClosed = errors.New("egress: the client is closed")

// do sends the request over l, as often as it may.
func (x *exchange) do(ctx context.Context, l *lane) (*Answer, error) {
	q, err := x.build(ctx)
	if err != nil {
		return nil, internal(err)
	}
	retrying := retryablehttp.Client{
		HTTPClient: l.client, RetryMax: min(max(x.request.Retries, 0), MostRetries), RetryWaitMin: leastWait, RetryWaitMax: mostWait,
		CheckRetry: x.again, Backoff: wait, ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	res, err := retrying.Do(q)
	if err != nil {
		if res != nil {
			_ = res.Body.Close()
		}
		return nil, x.failed(err)
	}
	defer res.Body.Close()
	limit := positive(x.request.Limit, DefaultLimit)
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return nil, x.cutOff(err, res.StatusCode)
	case int64(len(body)) > limit:
		return nil, x.tooLarge(res.StatusCode)
	}
	return &Answer{Status: res.StatusCode, Header: res.Header, Body: body}, nil
}

func (x *exchange) build(ctx context.Context) (*retryablehttp.Request, error) {
	var body any // an untyped nil: no body
	if len(x.request.Body) > 0 {
		body = x.request.Body
	}
	q, err := retryablehttp.NewRequestWithContext(ctx, x.request.Method, x.request.URL, body)
	if err != nil {
		return nil, fmt.Errorf("egress: %w", withoutURL(err))
	}
	if x.request.Header != nil {
		q.Header = x.request.Header.Clone()
	}
	if q.Header.Get("User-Agent") == "" {
		q.Header.Set("User-Agent", "hopgate")
	}
	return q, nil
}

// again decides about one more attempt: none when the time limit would pass before it, so that what was seen last is what is told. It never
// returns an error, which would take the place of the cause.
func (x *exchange) again(ctx context.Context, res *http.Response, err error) (bool, error) {
	by, _ := ctx.Deadline()
	pause := wait(leastWait, mostWait, x.attempt, nil)
	x.attempt++
	switch {
	case ctx.Err() != nil, x.request.Retries <= 0, time.Until(by) < pause:
		return false, nil //nolint:nilerr // see above
	case err != nil:
		return repeatable(x.failed(err)), nil
	}
	return res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500 && res.StatusCode != http.StatusNotImplemented, nil
}

// wait doubles from least to most. Retry-After isn't followed: somebody waits for the answer.
func wait(least, most time.Duration, attempt int, _ *http.Response) time.Duration {
	return min(least<<min(attempt, 10), most)
}

func positive[T int64 | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

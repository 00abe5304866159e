package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

// unread is a connection of net/http's on which heads that no request can be made of are refused like everything else: with a fault. net/http
// refuses them by itself, in words of its own and without asking a handler; here those are replaced before they leave. And it is a connection
// that ends with a request of which two servers could think differently where it ends.
type unread struct {
	net.Conn
	log        *slog.Logger
	counted    atomic.Bool // a Content-Length came on it, at any time
	matched    int         // how much of lengthField has just been read
	understood atomic.Bool // the latest head was: what is written isn't a refusal of net/http's own
}

// lingering is how long a caller who still sends may take to notice a refusal: closing on unread bytes could take the answer from them.
const lingering = 500 * time.Millisecond

// unreadKey finds the connection in a request's context.
type unreadKey struct{}

// headed is an unread connection, in TLS or not.
type headed interface{ heads() *unread }

func (u *unread) heads() *unread { return u }

// noted lets the requests of a connection find it.
func noted(ctx context.Context, c net.Conn) context.Context {
	if h, ok := c.(headed); ok {
		return context.WithValue(ctx, unreadKey{}, h.heads())
	}
	return ctx
}

// heard says that a head was understood: what is written from here on is the handler's.
func heard(ctx context.Context) {
	if u, ok := ctx.Value(unreadKey{}).(*unread); ok {
		u.understood.Store(true)
	}
}

// ambiguous reports whether a request may have come with both lengths, of which net/http drops Content-Length without a word: somebody before
// us may have believed that one. The connection has to end with the answer (RFC 9112 section 6.3). It may be wrong about an honest caller who
// uses both in turn, never about another one.
func ambiguous(r *http.Request) bool {
	if len(r.TransferEncoding) == 0 {
		return false
	}
	u, ok := r.Context().Value(unreadKey{}).(*unread)
	return ok && u.counted.Load()
}

const lengthField = "\ncontent-length"

// Read reads, and looks for lines that begin with Content-Length.
func (u *unread) Read(p []byte) (int, error) {
	n, err := u.Conn.Read(p)
	if !u.counted.Load() {
		u.look(p[:n])
	}
	return n, err
}

func (u *unread) look(p []byte) {
	for len(p) > 0 {
		if u.matched == 0 {
			i := bytes.IndexByte(p, '\n')
			if i < 0 {
				return
			}
			p, u.matched = p[i+1:], 1
			continue
		}
		c := p[0]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lengthField[u.matched] {
			u.matched = 0
			continue
		}
		p = p[1:]
		if u.matched++; u.matched == len(lengthField) {
			u.counted.Store(true)
			return
		}
	}
}

// Write replaces a refusal of net/http's, and passes everything else on.
func (u *unread) Write(p []byte) (int, error) {
	if u.understood.Swap(true) {
		return u.Conn.Write(p)
	}
	status, ok := refusedWith(p)
	if !ok {
		return u.Conn.Write(p)
	}
	f := unreadable(status)
	u.log.Debug("a head was refused", "remote", u.RemoteAddr().String(), "fault", f)
	u.SetDeadline(time.Now().Add(lingering)) //nolint:errcheck // the connection is closed next in any case
	if _, err := u.Conn.Write(told(f)); err != nil {
		return 0, err
	}
	if u.CloseWrite() == nil {
		io.Copy(io.Discard, u.Conn) //nolint:errcheck // ends with the deadline at the latest
	}
	return len(p), nil
}

// CloseWrite says the end of what we send, where the connection can do that.
func (u *unread) CloseWrite() error {
	if half, ok := u.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// refusedWith reads the status of an answer; ok is false for what is none, such as frames of HTTP/2, and for what isn't a refusal.
func refusedWith(p []byte) (status int, ok bool) {
	const before = "HTTP/1.1 "
	if len(p) < len(before)+3 || string(p[:len(before)]) != before {
		return 0, false
	}
	status, err := strconv.Atoi(string(p[len(before) : len(before)+3]))
	return status, err == nil && status >= http.StatusBadRequest
}

// unreadable is the fault behind a status that net/http answers by itself.
func unreadable(status int) *fault.Error {
	f := &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Unsupported, Status: status}
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		f.Phase, f.Kind = fault.Limit, fault.TooLarge
		f.Message, f.Hint = fmt.Sprintf("the head of the request is larger than %d KiB", headerBytes>>10), "send fewer or shorter headers; look for a cookie or token that grew"
	case http.StatusNotImplemented:
		f.Message, f.Hint = "the request's transfer coding isn't offered here", "send the body with Content-Length, or chunked alone"
	case http.StatusHTTPVersionNotSupported:
		f.Message, f.Hint = "this version of HTTP isn't offered here", "use HTTP/1.1 or HTTP/2"
	case http.StatusExpectationFailed:
		f.Message, f.Hint = "the request expects something that isn't offered here", "the one expectation that is met is 100-continue"
	default:
		f.Kind, f.Message, f.Hint = fault.Malformed, "the request isn't well-formed HTTP", "look at what its client or an intermediary sent as method, target, Host, header lines and lengths"
	}
	return f
}

// told is the answer to a head that was refused; the connection ends with it.
func told(f *fault.Error) []byte {
	body := f.AppendJSONRPC(nil, nil, fault.Place{})
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nX-Hopgate-Error: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		f.Status, http.StatusText(f.Status), f.Header(), len(body), body)
}

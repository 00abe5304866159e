package listen

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hopgate/hopgate/dataplane/request"
)

// visit is one request and its answer on their way between net/http and the handler. It is pooled: nothing may keep it after serve.
type visit struct {
	in   request.Inbound
	sink sink
}

var visits = sync.Pool{New: func() any { return new(visit) }}

// serve hands one request of net/http to the handler in neutral form.
func (l *Listener) serve(w http.ResponseWriter, r *http.Request) {
	l.serving.Add(1)
	defer l.serving.Add(-1)
	heard(r.Context())
	if ambiguous(r) {
		w.Header()["Connection"] = []string{"close"}
	}
	v := visits.Get().(*visit)
	ctl := w.(control) //nolint:forcetypeassert // both writers of net/http are one
	v.sink = sink{w: w, ctl: ctl, limit: l.cfg.WriteTimeout, perStream: r.ProtoMajor == 2}
	v.in = request.Inbound{Context: r.Context(), Method: r.Method, Path: path(r), Query: r.URL.RawQuery, Host: r.Host, Remote: r.RemoteAddr, Proto: r.Proto,
		Secure: r.TLS != nil, Names: names(r.TLS), Header: r.Header, Body: r.Body, Length: r.ContentLength}
	if r.ContentLength != 0 {
		// The body's time is bounded whoever reads it: net/http itself does when a request is refused unread. net/http lifts the deadline
		// when the body has ended and it begins to watch for the caller's leaving.
		ctl.SetReadDeadline(time.Now().Add(l.cfg.BodyTimeout)) //nolint:errcheck // without a deadline the connection limit still holds
	}
	l.cfg.Handler.Serve(&v.in, &v.sink)
	aborted := v.sink.aborted
	*v = visit{}
	visits.Put(v)
	if aborted {
		panic(http.ErrAbortHandler) // how net/http is told to break a connection or stream off
	}
}

// names are the DNS and URI names (RFC 5280 section 4.2.1.6) of a caller's certificate that was verified; nil without one. The common name of
// its subject isn't among them.
func names(state *tls.ConnectionState) []string {
	if state == nil || len(state.VerifiedChains) == 0 {
		return nil
	}
	leaf := state.VerifiedChains[0][0]
	out := slices.Clone(leaf.DNSNames)
	for _, u := range leaf.URIs {
		out = append(out, u.String())
	}
	return out
}

// path is the request target without its query, as it was sent.
func path(r *http.Request) string {
	p := r.RequestURI
	if !strings.HasPrefix(p, "/") { // absolute form (RFC 9112 section 3.2.2)
		return r.URL.EscapedPath()
	}
	if i := strings.IndexByte(p, '?'); i >= 0 {
		p = p[:i]
	}
	return p
}

// control is what net/http's response writers offer beside http.ResponseWriter; those of both protocol versions have all of it.
type control interface {
	FlushError() error
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// sink is request's way out over net/http. Every write has a deadline: a caller who doesn't read loses the connection or stream.
type sink struct {
	w         http.ResponseWriter
	ctl       control
	limit     time.Duration
	until     time.Time // deadline in force; zero: none
	perStream bool      // HTTP/2: a deadline passes whether or not somebody writes
	aborted   bool
}

// Header is the answer's header map.
func (s *sink) Header() http.Header { return s.w.Header() }

// WriteHeader sends the head, with the body or when flushed.
func (s *sink) WriteHeader(status int) {
	s.arm()
	s.w.WriteHeader(status)
}

// Write appends to the body.
func (s *sink) Write(p []byte) (int, error) {
	if s.aborted {
		return 0, http.ErrAbortHandler
	}
	s.arm()
	return s.w.Write(p)
}

// Flush sends what is buffered. More may follow after any time, so no deadline stays behind where one would end a quiet stream.
func (s *sink) Flush() error {
	if s.aborted {
		return http.ErrAbortHandler
	}
	s.arm()
	err := s.ctl.FlushError()
	if s.perStream {
		s.until = time.Time{}
		s.ctl.SetWriteDeadline(s.until) //nolint:errcheck // the stream ends with it at worst
	}
	return err
}

// arm gives the writer at least half the limit from now.
func (s *sink) arm() {
	now := time.Now()
	if s.until.Sub(now) > s.limit/2 {
		return
	}
	s.until = now.Add(s.limit)
	s.ctl.SetWriteDeadline(s.until) //nolint:errcheck // without a deadline the connection limit still holds
}

// Abort breaks the connection (HTTP/1.1) or the stream (HTTP/2) off when the request ends.
func (s *sink) Abort() { s.aborted = true }

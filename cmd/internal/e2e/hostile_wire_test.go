//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// retort is an answer as it came over the wire.
type retort struct {
	status           int
	fault, preflight string // x-hopgate-error and Access-Control-Allow-Methods
	last             bool   // the gateway closes behind it
	whole            []byte // head and body
}

// errOther is an answer in another protocol than HTTP/1.1.
var errOther = errors.New("not an answer of HTTP/1.1")

// hearRetort reads one answer; whole is valid until the next call with the same buffer.
func hearRetort(r *bufio.Reader, buf []byte, method string) (a retort, err error) {
	buf = buf[:0]
	line := func() ([]byte, error) {
		l, err := r.ReadSlice('\n')
		buf = append(buf, l...)
		return bytes.TrimRight(l, "\r\n"), err
	}
	l, err := line()
	if err != nil && len(l) == 0 {
		return a, err
	}
	if len(l) < 12 || !bytes.HasPrefix(l, []byte("HTTP/1.")) {
		return a, errOther
	}
	if a.status, err = strconv.Atoi(string(l[9:12])); err != nil {
		return a, errOther
	}
	length, chunked := int64(-1), false
	for {
		if l, err = line(); err != nil || len(l) == 0 {
			break
		}
		name, value, _ := strings.Cut(string(l), ": ")
		switch strings.ToLower(name) {
		case "content-length":
			length, err = strconv.ParseInt(value, 10, 64)
		case "transfer-encoding":
			chunked = true
		case "connection":
			a.last = value == "close"
		case "x-hopgate-error":
			a.fault = value
		case "access-control-allow-methods":
			a.preflight = value
		}
		if err != nil {
			break
		}
	}
	switch {
	case err != nil:
	case a.status < 200:
		return hearRetort(r, buf, method)
	case method == "HEAD" || a.status == 204 || a.status == 304:
	case chunked:
		err = errOther // nothing that a stranger is told is so long
	case length < 0:
		a.last = true
		length = 1 << 20
		fallthrough
	default:
		if n := len(buf); length <= 1<<20 {
			var body []byte
			body, err = io.ReadAll(io.LimitReader(r, length))
			if buf = append(buf, body...); err == nil && !a.last && int64(len(buf)-n) < length {
				err = io.ErrUnexpectedEOF
			}
		}
	}
	a.whole = buf
	return a, err
}

// tally counts what a campaign sent and what came back.
type tally struct {
	made, formed      atomic.Int64 // requests, and those of them that keep to HTTP
	statuses          [600]atomic.Int64
	bare              [600]atomic.Int64 // without x-hopgate-error
	other, cut, stuck atomic.Int64      // answers in no HTTP, connections that broke off, and that said nothing in time
	lost              atomic.Int64      // well-formed requests without an answer
	connections       atomic.Int64
	opened            atomic.Int64 // answers with what is published
	complaints        chan string
}

func (c *tally) complain(format string, args ...any) {
	select {
	case c.complaints <- fmt.Sprintf(format, args...):
	default:
	}
}

// judge looks at one answer: nothing but what is published comes with a status of success, and nothing of what was sent comes back.
func (c *tally) judge(a *retort, asked []byte) {
	c.statuses[min(a.status, 599)].Add(1)
	if a.fault == "" {
		c.bare[min(a.status, 599)].Add(1)
		if a.status >= 400 {
			c.complain("an answer of %d without x-hopgate-error: %.300q to %.600q", a.status, a.whole, asked)
		}
	}
	if a.status/100 == 2 && !published(a) {
		c.complain("a stranger was given %.600q for %.600q", a.whole, asked)
	}
	if a.status/100 == 2 {
		c.opened.Add(1)
	}
	if bytes.Contains(a.whole, []byte(planted)) {
		c.complain("what was sent came back: %.600q for %.600q", a.whole, asked)
	}
}

// published is what anybody may have: health, the documents of OAuth, and that pages of one origin may ask.
func published(a *retort) bool {
	head, body, _ := bytes.Cut(a.whole, []byte("\r\n\r\n"))
	if a.status == 204 {
		return a.preflight == "POST, GET, DELETE" && bytes.Contains(bytes.ToLower(head), []byte("access-control-allow-origin: https://app.example.com\r\n")) && len(body) == 0
	}
	if len(body) == 0 { // of HEAD
		return bytes.Contains(head, []byte("Content-Type: application/json"))
	}
	return a.status == 200 && (string(body) == `{"status":"ok"}` || bytes.HasPrefix(body, []byte(`{"status":"ready","revision":`)) ||
		bytes.HasPrefix(body, []byte(`{"resource":"`)) || bytes.HasPrefix(body, []byte(`{"issuer":"`)) || string(body) == `{"keys":[]}`)
}

// campaign sends n requests as one stranger from an address of its own, many on one connection and without waiting for answers in between.
func (s *stranger) campaign(c *tally, from string, n int) {
	dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	r, buf := bufio.NewReaderSize(nil, 16<<10), make([]byte, 0, 4<<10)
	for n > 0 {
		conn, err := dialer.Dial("tcp", s.host)
		if err != nil {
			c.complain("connect: %v", err)
			return
		}
		c.connections.Add(1)
		r.Reset(conn)
		n -= s.converse(c, conn.(*net.TCPConn), r, &buf, n) //nolint:forcetypeassert // it was dialled so
		conn.(*net.TCPConn).SetLinger(0)                    //nolint:errcheck,forcetypeassert // its port is free again sooner
		conn.Close()                                        //nolint:errcheck // whatever came of it
	}
}

// converse uses one connection up and returns how many requests it made, at most n.
func (s *stranger) converse(c *tally, conn *net.TCPConn, r *bufio.Reader, buf *[]byte, n int) (made int) {
	var out []byte
	var methods [24]string
	var ends [24]int
	for batches := 1 + s.IntN(3); batches > 0 && made < n; batches-- {
		out = out[:0]
		formed := min(1+s.IntN(8), n-made)
		for i := range formed {
			out, methods[i] = s.wellFormed(out)
			ends[i] = len(out)
		}
		conn.SetDeadline(time.Now().Add(15 * time.Second)) //nolint:errcheck // the reads tell
		conn.Write(out)                                    //nolint:errcheck // the reads tell
		for i := range formed {
			a, err := hearRetort(r, *buf, methods[i])
			*buf = a.whole
			if err != nil {
				c.broken(err, i, out)
				return made + max(i, 1)
			}
			made++
			c.made.Add(1)
			c.formed.Add(1)
			c.judge(&a, out[:ends[i]])
			if a.last {
				return made
			}
		}
	}
	if made < n {
		made += s.finale(c, conn, r, buf, min(n-made, 1+s.IntN(5)))
	}
	return made
}

// broken notes a connection that ended before an answer to a well-formed request came.
func (c *tally) broken(err error, at int, out []byte) {
	var t net.Error
	if errors.As(err, &t) && t.Timeout() {
		c.stuck.Add(1)
		c.complain("no answer in 15 s, request %d of %.2000q", at, out)
		return
	}
	c.lost.Add(1)
	if at == 0 {
		c.made.Add(1)
		c.complain("a well-formed request got no answer: %v: %.2000q", err, out)
	}
}

// finale makes k requests that may be anything, says that nothing more comes, and hears what is said until the end.
func (s *stranger) finale(c *tally, conn *net.TCPConn, r *bufio.Reader, buf *[]byte, k int) int {
	var out []byte
	for range k {
		out = s.mutant(out)
	}
	c.made.Add(int64(k))
	conn.SetDeadline(time.Now().Add(15 * time.Second)) //nolint:errcheck // the reads tell
	conn.Write(out)                                    //nolint:errcheck // the reads tell
	conn.CloseWrite()                                  //nolint:errcheck // the reads tell
	for {
		a, err := hearRetort(r, *buf, "")
		if a.whole != nil {
			*buf = a.whole
		}
		var t net.Error
		switch {
		case err == nil:
			c.judge(&a, out)
			if a.last {
				return k
			}
			continue
		case errors.Is(err, io.EOF):
		case errors.Is(err, errOther):
			c.other.Add(1)
		case errors.As(err, &t) && t.Timeout():
			c.stuck.Add(1)
			c.complain("a connection went on for 15 s after its end: %.2000q", out)
		default:
			c.cut.Add(1)
		}
		return k
	}
}

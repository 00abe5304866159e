package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// crew is a load that can be stopped and go on at once: connections that stay open, each of which makes the same request again and again while a
// slice lasts. wrk can't do that.
type crew struct {
	pid   int // of the hop
	lines []*line
}

type line struct {
	conn    net.Conn
	request []byte
	buf     [8 << 10]byte
	err     error
}

// newCrew opens connections to addr, all of which will send request.
func newCrew(ctx context.Context, addr string, pid, connections int, request []byte) (*crew, error) {
	c := &crew{pid: pid}
	for range connections {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			c.close()
			return nil, err
		}
		c.lines = append(c.lines, &line{conn: conn, request: request})
	}
	return c, nil
}

func (c *crew) close() {
	for _, l := range c.lines {
		l.conn.Close()
	}
}

// slice loads the hop for so long, waits for the last answers and until the hop is quiet, so that what it does afterwards (a collection that
// began in the slice goes on behind it) counts here and not in the next one's slice.
func (c *crew) slice(length time.Duration) (slice, error) {
	cpu, end := cpuTime(c.pid), time.Now().Add(length)
	counts := make([]int, len(c.lines))
	var wg sync.WaitGroup
	for i, l := range c.lines {
		wg.Go(func() { counts[i] = l.until(end) })
	}
	wg.Wait()
	s := slice{cpu: quiet(c.pid) - cpu}
	for i, l := range c.lines {
		s.requests += counts[i]
		if l.err != nil {
			return s, l.err
		}
	}
	return s, nil
}

const (
	quietFor  = time.Millisecond      // with next to no CPU is quiet
	quietCPU  = 50 * time.Microsecond // is next to none: timers, the look itself
	quietWait = time.Second           // at most
)

// quiet waits until a hop is, and returns the CPU time it has used by then.
func quiet(pid int) time.Duration {
	tick := time.NewTicker(quietFor)
	defer tick.Stop()
	cpu := cpuTime(pid)
	for end := time.Now().Add(quietWait); time.Now().Before(end); {
		<-tick.C
		now := cpuTime(pid)
		if now-cpu < quietCPU {
			return now
		}
		cpu = now
	}
	return cpu
}

// until makes requests until end, and counts those with a good answer; the first bad one ends it.
func (l *line) until(end time.Time) (good int) {
	l.conn.SetDeadline(end.Add(10 * time.Second)) //nolint:errcheck // the read tells
	for l.err == nil && time.Now().Before(end) {
		if l.err = l.call(); l.err == nil {
			good++
		}
	}
	return good
}

func (l *line) call() error {
	if _, err := l.conn.Write(l.request); err != nil {
		return err
	}
	for n := 0; ; {
		more, err := l.conn.Read(l.buf[n:])
		if err != nil {
			return fmt.Errorf("an answer ended after %q: %w", l.buf[:n], err)
		}
		n += more
		if done, err := answered(l.buf[:n]); done || err != nil {
			return err
		}
	}
}

var (
	good   = []byte("HTTP/1.1 200 ")
	length = []byte("\r\nContent-Length: ")
	hello  = []byte(`"text":"hello"`)
)

// answered tells whether b is a whole answer to a call, and what is wrong with it otherwise than being short.
func answered(b []byte) (done bool, err error) {
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		return false, nil
	}
	_, rest, found := bytes.Cut(b[:head+2], length)
	if !bytes.HasPrefix(b, good) || !found {
		return false, fmt.Errorf("an answer is %q", b)
	}
	n, err := strconv.Atoi(string(rest[:bytes.IndexByte(rest, '\r')]))
	switch body := b[head+4:]; {
	case err != nil || len(body) > n:
		return false, fmt.Errorf("an answer is %q", b)
	case len(body) < n:
		return false, nil
	case !bytes.Contains(body, hello):
		return false, fmt.Errorf("an answer is %q", b)
	}
	return true, nil
}

// rawCall is a call as the bytes of a request of ours.
func (r *rig) rawCall(host, at, body, session string) []byte {
	b := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", at, host, len(body))
	for k, v := range callHeaders(r.key) {
		b = fmt.Appendf(b, "%s: %s\r\n", k, v)
	}
	if session != "" {
		b = fmt.Appendf(b, "Mcp-Session-Id: %s\r\n", session)
	}
	return fmt.Appendf(b, "\r\n%s", body)
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// opening is how many sessions are opened at once.
const opening = 32

// crowd are the clients: a connection for each stream, and nobody who waits at it.
type crowd struct {
	conns []net.Conn
	once  sync.Once
}

const (
	initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"idle","version":"1"}}}`
	started    = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	call       = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}`
)

// open opens all sessions and their streams.
func (r *rig) open(ctx context.Context) (*crowd, error) {
	c := &crowd{conns: make([]net.Conn, r.o.streams)}
	var next, wg = make(chan int), sync.WaitGroup{}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for range opening {
		wg.Go(func() {
			for i := range next {
				conn, err := r.stream(ctx)
				if err != nil {
					cancel(fmt.Errorf("stream %d: %w", i+1, err))
					return
				}
				c.conns[i] = conn
			}
		})
	}
	for i := range c.conns {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// stream opens one session and its GET stream on one connection, and returns that.
func (r *rig) stream(ctx context.Context) (net.Conn, error) {
	conn, in, session, err := r.session(ctx)
	if err != nil {
		return nil, err
	}
	err = r.listen(conn, in, session)
	if err == nil && in.Buffered() > 0 {
		err = errors.New("the stream said something at once")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// session opens a connection with a session on it.
func (r *rig) session(ctx context.Context) (conn net.Conn, in *bufio.Reader, session string, err error) {
	var d net.Dialer
	if conn, err = d.DialContext(ctx, "tcp", mcpAddr); err != nil {
		return nil, nil, "", err
	}
	in = bufio.NewReaderSize(conn, 2<<10)
	for _, body := range []string{initialize, started} {
		res, err := r.ask(conn, in, "POST", session, body) //nolint:bodyclose // its bytes are those of the connection, which is closed
		if err == nil && res.StatusCode/100 != 2 {
			err = fmt.Errorf("%.60s is answered %d", body, res.StatusCode)
		}
		if err != nil {
			conn.Close()
			return nil, nil, "", err
		}
		if session == "" {
			session = res.Header.Get("Mcp-Session-Id")
		}
	}
	return conn, in, session, nil
}

func (r *rig) listen(conn net.Conn, in *bufio.Reader, session string) error {
	res, err := r.ask(conn, in, "GET", session, "") //nolint:bodyclose // as above
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		return fmt.Errorf("GET is answered %d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	return nil
}

// request is a request as bytes.
func (r *rig) request(method, session, body string) []byte {
	b := fmt.Appendf(nil, "%s /quiet/mcp HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nMCP-Protocol-Version: 2025-11-25\r\nUser-Agent: idle\r\n", method, mcpAddr, r.key)
	if session != "" {
		b = fmt.Appendf(b, "Mcp-Session-Id: %s\r\n", session)
	}
	if body == "" {
		return append(b, "Accept: text/event-stream\r\n\r\n"...)
	}
	return fmt.Appendf(b, "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// ask makes one request; the body of an answer that isn't a stream is read away.
func (r *rig) ask(conn net.Conn, in *bufio.Reader, method, session, body string) (*http.Response, error) {
	conn.SetDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the run is bounded
	defer conn.SetDeadline(time.Time{})                //nolint:errcheck // as above
	if _, err := conn.Write(r.request(method, session, body)); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, err
	}
	if method == "POST" {
		_, err = io.Copy(io.Discard, res.Body)
	}
	return res, err
}

// check reads what the streams brought meanwhile: comments and nothing else. It returns how many in all.
func (c *crowd) check() (comments int, err error) {
	buf := make([]byte, 64<<10)
	for i, conn := range c.conns {
		conn.SetReadDeadline(time.Now().Add(time.Millisecond)) //nolint:errcheck // the read below tells
		n, err := conn.Read(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, fmt.Errorf("stream %d: %w", i+1, err)
		}
		here := bytes.Count(buf[:n], []byte(": keep-alive\n"))
		if rest := strings.TrimRight(strings.ReplaceAll(string(buf[:n]), "d\r\n: keep-alive\n\r\n", ""), "\r\n"); rest != "" {
			return 0, fmt.Errorf("stream %d brought more than comments: %q", i+1, rest)
		}
		comments += here
	}
	return comments, nil
}

// close ends all streams.
func (c *crowd) close() {
	c.once.Do(func() {
		for _, conn := range c.conns {
			if conn != nil {
				conn.Close()
			}
		}
	})
}

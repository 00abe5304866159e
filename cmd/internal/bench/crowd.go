package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// crowd are clients with open event streams: a connection each, and nobody who waits at it.
type crowd []net.Conn

// openStreams opens so many GET streams of one quiet server, each in a session of its own.
func (r *rig) openStreams(ctx context.Context, g *gate, n int) (c crowd, err error) {
	at := "/" + growthServer(growthQuiet) + "/mcp"
	for len(c) < n {
		session, err := r.initialize(ctx, "http://"+g.mcp()+at)
		if err != nil {
			c.close()
			return nil, err
		}
		conn, err := r.openStream(ctx, g.mcp(), at, session)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("stream %d: %w", len(c)+1, err)
		}
		c = append(c, conn)
	}
	return c, nil
}

func (r *rig) openStream(ctx context.Context, addr, at, session string) (net.Conn, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+at, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range callHeaders(r.key) {
		req.Header.Set(k, v)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Mcp-Session-Id", session)
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // what follows tells
	var res *http.Response
	if err = req.Write(conn); err == nil {
		res, err = http.ReadResponse(bufio.NewReaderSize(conn, 2<<10), req) //nolint:bodyclose // its bytes are those of the connection
	}
	if err == nil && (res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream") {
		err = fmt.Errorf("GET is answered %d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// check refuses streams that ended meanwhile, or brought anything but comments.
func (c crowd) check() error {
	buf := make([]byte, 64<<10)
	for i, conn := range c {
		conn.SetReadDeadline(time.Now().Add(time.Millisecond)) //nolint:errcheck // the read tells
		n, err := conn.Read(buf)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("stream %d: %w", i+1, err)
		}
		if rest := bytes.ReplaceAll(buf[:n], []byte("d\r\n: keep-alive\n\r\n"), nil); strings.TrimRight(string(rest), "\r\n") != "" {
			return fmt.Errorf("stream %d brought more than comments: %q", i+1, rest)
		}
	}
	return nil
}

func (c crowd) close() {
	for _, conn := range c {
		conn.Close()
	}
}

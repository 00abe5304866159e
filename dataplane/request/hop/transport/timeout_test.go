package transport_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// silentAfter sends an answer's beginning and then nothing, without hanging up.
func silentAfter(begin string) func(net.Conn) {
	return func(c net.Conn) {
		br := bufio.NewReader(c)
		if readRequest(br) != nil {
			return
		}
		if begin != "" { // a pipe hands on that nothing was written
			io.WriteString(c, begin)
		}
		br.ReadByte()
	}
}

// dripping sends one byte every few milliseconds for ever.
func dripping(begin string) func(net.Conn) {
	return func(c net.Conn) {
		if readRequest(bufio.NewReader(c)) != nil {
			return
		}
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for _, err := io.WriteString(c, begin); err == nil; _, err = c.Write([]byte("x")) {
			<-tick.C
		}
	}
}

func TestTimeLimits(t *testing.T) {
	const ms = time.Millisecond
	json := ok + "Content-Length: 100000\r\n\r\n"
	for name, v := range map[string]struct {
		serve  func(net.Conn)
		limits table.Timeouts
		phase  fault.Phase
		says   string
	}{
		"no first byte":       {silentAfter(""), table.Timeouts{FirstByte: 30 * ms}, fault.Headers, "first-byte"},
		"half a head":         {silentAfter(ok + "A: b"), table.Timeouts{FirstByte: 30 * ms}, fault.Headers, "first-byte"},
		"dripping head":       {dripping(ok + "A: "), table.Timeouts{FirstByte: 30 * ms, Idle: time.Second}, fault.Headers, "first-byte"},
		"only interim":        {silentAfter("HTTP/1.1 100 Continue\r\n\r\n"), table.Timeouts{FirstByte: 30 * ms}, fault.Headers, "first-byte"},
		"idle body":           {silentAfter(json + "{"), table.Timeouts{FirstByte: time.Second, Idle: 30 * ms}, fault.Body, "silent"},
		"idle stream":         {silentAfter(sse + "\r\ndata: x\n"), table.Timeouts{FirstByte: time.Second, Idle: 30 * ms}, fault.Stream, "silent"},
		"idle chunk size":     {silentAfter(ok + "Transfer-Encoding: chunked\r\n\r\n2"), table.Timeouts{Idle: 30 * ms}, fault.Body, "silent"},
		"dripping body":       {dripping(json), table.Timeouts{Idle: time.Second, Total: 30 * ms}, fault.Body, "total"},
		"total, no head":      {silentAfter(""), table.Timeouts{FirstByte: time.Second, Total: 30 * ms}, fault.Headers, "total"},
		"total, no idle":      {silentAfter(json), table.Timeouts{Total: 30 * ms}, fault.Body, "total"},
		"stream's first byte": {silentAfter(""), table.Timeouts{FirstByte: 30 * ms}, fault.Headers, "first-byte"},
	} {
		t.Run(name, func(t *testing.T) {
			q := post(ping)
			q.Timeouts = v.limits
			q.Stream = strings.HasPrefix(name, "stream")
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, _, err := call(newClient(t, piped(t, v.serve)), targetAt("127.0.0.1:1"), q)
				f := wantFault(t, err, v.phase, fault.TimedOut)
				if !strings.Contains(f.Message, v.says) {
					t.Errorf("message %q", f.Message)
				}
				if took := time.Since(start); took != 30*ms {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestDrippingBodyWithinIdleIsFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := piped(t, func(c net.Conn) {
			if readRequest(bufio.NewReader(c)) != nil {
				return
			}
			io.WriteString(c, ok+"Content-Length: 20\r\n\r\n")
			for range 20 {
				time.Sleep(49 * time.Millisecond) // of the bubble
				c.Write([]byte("x"))
			}
		})
		q := post(ping)
		q.Timeouts = table.Timeouts{FirstByte: 50 * time.Millisecond, Idle: 50 * time.Millisecond}
		if _, body, err := call(newClient(t, cfg), targetAt("127.0.0.1:1"), q); err != nil || len(body) != 20 {
			t.Errorf("%q, %v", body, err)
		}
	})
}

func TestStreamHasNeitherIdleNorTotalLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := piped(t, func(c net.Conn) {
			if readRequest(bufio.NewReader(c)) != nil {
				return
			}
			io.WriteString(c, sse+"\r\n")
			time.Sleep(time.Hour) // of the bubble
			io.WriteString(c, "data: x\n\n")
		})
		q := post(ping)
		q.Stream, q.Timeouts = true, table.Timeouts{FirstByte: 30 * time.Millisecond, Idle: time.Millisecond, Total: 10 * time.Millisecond}
		res, err := newClient(t, cfg).Do(context.Background(), targetAt("127.0.0.1:1"), q, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		if b, err := res.NextEvent(nil, 0); err != nil || string(b) != "data: x\n\n" {
			t.Errorf("%q, %v", b, err)
		}
	})
}

func TestUpstreamThatStopsReadingTimesOut(t *testing.T) {
	addr := listen(t, func(c net.Conn) {
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		one := make([]byte, 1)
		c.Read(one)
		<-t.Context().Done()
	})
	q := post(strings.Repeat("x", 16<<20))
	q.Timeouts = table.Timeouts{FirstByte: 5 * time.Second, Idle: 50 * time.Millisecond}
	_, _, err := call(newClient(t, transport.Config{}), targetAt(addr), q)
	if f := wantFault(t, err, fault.Headers, fault.TimedOut); !strings.Contains(f.Message, "take the request") {
		t.Errorf("message %q", f.Message)
	}
}

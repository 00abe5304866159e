package transport_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
	"github.com/hopgate/hopgate/proto/fault"
)

// readBody returns the body of the next request.
func readBody(br *bufio.Reader) (string, error) {
	q, err := http.ReadRequest(br)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(q.Body)
	return string(b), err
}

func TestLargeRequestsArriveWhole(t *testing.T) {
	ca := newAuthority(t)
	hashing := func(c net.Conn) {
		for br := bufio.NewReader(c); ; {
			body, err := readBody(br)
			if err != nil {
				return
			}
			sum := sha256.Sum256([]byte(body))
			io.WriteString(c, ok+"Content-Length: 64\r\n\r\n"+hex.EncodeToString(sum[:]))
		}
	}
	plain := targetAt(listen(t, hashing))
	secure := secureAt(listenTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "mcp.test", -time.Hour, time.Hour)}}, hashing), ca.pool())
	c := newClient(t, transport.Config{})
	for _, size := range []int{16 << 10, 16<<10 + 1, 256 << 10, 256<<10 + 1, 5 << 20} {
		q := post(strings.Repeat("0123456789abcdef", size/16+1)[:size])
		before := bytes.Clone(q.Body)
		sum := sha256.Sum256(q.Body)
		for range 2 {
			if _, got, err := call(c, plain, q); err != nil || got != hex.EncodeToString(sum[:]) {
				t.Errorf("plain, %d bytes: %q, %v", size, got, err)
			}
			if _, got, err := call(c, secure, q); err != nil || got != hex.EncodeToString(sum[:]) {
				t.Errorf("TLS, %d bytes: %q, %v", size, got, err)
			}
		}
		if !bytes.Equal(q.Body, before) {
			t.Error("the body was changed")
		}
	}
}

func TestAnswerBeforeTheRequestIsRead(t *testing.T) {
	const refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"
	early := func(t *testing.T, then func(net.Conn, <-chan struct{})) func(net.Conn) {
		return func(c net.Conn) {
			one := make([]byte, 100)
			c.Read(one)
			io.WriteString(c, refusal)
			then(c, t.Context().Done())
		}
	}
	ca := newAuthority(t)
	cfg := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "mcp.test", -time.Hour, time.Hour)}}
	body := strings.Repeat("x", 16<<20) // more than the socket buffers of both sides
	for name, then := range map[string]func(net.Conn, <-chan struct{}){
		"and stops reading": func(_ net.Conn, end <-chan struct{}) { <-end },
		"and hangs up":      func(net.Conn, <-chan struct{}) {},
		"and reads on":      func(c net.Conn, _ <-chan struct{}) { io.Copy(io.Discard, c) },
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			status, got, err := call(newClient(t, transport.Config{}), targetAt(listen(t, early(t, then))), post(body))
			if err != nil || status != 413 || got != "big" {
				t.Errorf("plain: %d %q, %v", status, got, err)
			}
			status, got, err = call(newClient(t, transport.Config{}), secureAt(listenTLS(t, cfg, early(t, then)), ca.pool()), post(body))
			if name == "and hangs up" && err != nil { // with a reset behind it, TLS may not get to see the answer
				wantFault(t, err, fault.Headers, fault.Reset)
			} else if err != nil || status != 413 || got != "big" {
				t.Errorf("TLS: %d %q, %v", status, got, err)
			}
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestHangUpInTheMiddleOfALargeRequest(t *testing.T) {
	addr := listen(t, func(c net.Conn) {
		one := make([]byte, 100)
		c.Read(one)
		c.(*net.TCPConn).SetLinger(0)
	})
	_, _, err := call(newClient(t, transport.Config{}), targetAt(addr), post(strings.Repeat("x", 16<<20)))
	wantFault(t, err, fault.Headers, fault.Reset)
}

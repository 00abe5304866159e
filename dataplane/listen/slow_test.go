package listen_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/listen"
)

// drip sends what comes at once, then a text a byte at a time, each long before any limit, until all is sent or nobody takes it any more.
func drip(c net.Conn, once, text string) {
	if _, err := io.WriteString(c, strings.TrimSuffix(once, "|")); err != nil {
		return
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := range len(text) {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return
		}
		<-tick.C
	}
}

// Slowloris: a byte now and then keeps no connection, wherever the connection stands. Each of these would go on for more than ten seconds.
func TestDrippingCallersAreCutOff(t *testing.T) {
	const limit = 200 * time.Millisecond
	long := strings.Repeat("X-Drip: drop\r\n", 200)
	chunk := "1\r\na\r\n"
	cert := pair(t, "gateway", nil)
	for name, c := range map[string]struct {
		first, dripped string // first must be answered; what is before the last | of dripped comes at once
		secure         bool
		cuts           int // how often the limit may apply: the head of a connection that net/http takes over has its time anew
	}{
		"an ordinary head":              {"", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + long, false, 1},
		"an unusual head":               {"", "PUT /healthz HTTP/1.1\r\nHost: localhost\r\n" + long, false, 2},
		"a head that becomes unusual":   {"", "POST /healthz HTTP/1.1\nHost: localhost\r\n" + long, false, 2},
		"nothing but empty lines":       {"", strings.Repeat("\r\n", 1200), false, 2},
		"the next head":                 {"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /healthz HTTP/1.1\r\n" + long, false, 1},
		"the next of an unusual one":    {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nPragma: no-cache\r\n\r\n", "GET /healthz HTTP/1.1\r\n" + long, false, 1},
		"a counted body":                {"", "POST /a/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n|" + long, false, 2},
		"a body in chunks":              {"", "POST /a/mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n|" + strings.Repeat(chunk, 400), false, 3},
		"the size of a chunk":           {"", "POST /a/mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;|" + strings.Repeat("x", 2000), false, 3},
		"a preface of HTTP/2":           {"", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n|" + strings.Repeat("\x00", 2000), false, 20},
		"a head in TLS":                 {"", "GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + long, true, 2},
		"words before a TLS handshake":  {"", "\x16\x03\x01\x02\x00" + strings.Repeat("\x01", 2000), false, 2},
		"a TLS handshake on a TLS port": {"raw", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x01", 500), true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := listen.Config{HeaderTimeout: limit, BodyTimeout: limit}
			if c.secure {
				cfg.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
			}
			l, _ := running(t, cfg)
			conn := dial(t, l)
			if c.secure && c.first != "raw" {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // nobody is to be recognised here
			} else if c.first != "" && c.first != "raw" {
				if _, err := io.WriteString(conn, c.first); err != nil || !strings.Contains(answered(t, conn), " 200 ") {
					t.Fatalf("the first request: %v", err)
				}
			}
			began := time.Now()
			go drip(conn, c.dripped[:strings.LastIndex(c.dripped, "|")+1], c.dripped[strings.LastIndex(c.dripped, "|")+1:])
			said, err := io.ReadAll(conn)
			if took := time.Since(began); errors.Is(err, os.ErrDeadlineExceeded) || took > time.Duration(c.cuts)*limit+4*time.Second {
				t.Errorf("still there after %v: %v, %.100q", took, err, said)
			}
			if strings.Contains(string(said), " 200 ") {
				t.Errorf("served: %.100q", said)
			}
		})
	}
}

// answered reads the first line of what was said.
func answered(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(b[:n]), "\r\n")
	return line + " "
}

// Connections count wherever they are served: on the fast way in, by net/http, and in TLS.
func TestConnectionsOfEveryKindCount(t *testing.T) {
	cert := pair(t, "gateway", nil)
	for _, secure := range []bool{false, true} {
		cfg := listen.Config{MaxConnections: 3}
		if secure {
			cfg.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		}
		l, _ := running(t, cfg)
		open := func() net.Conn {
			c := dial(t, l)
			if secure {
				c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // nobody is to be recognised here
			}
			return c
		}
		ordinary, unusual, idle := open(), open(), dial(t, l)
		if !alive(ordinary) || !unusuallyAlive(unusual) {
			t.Fatalf("TLS %t: connections within the limit aren't served", secure)
		}
		for by := time.Now().Add(5 * time.Second); l.Connections() != 3 && time.Now().Before(by); {
			alive(ordinary)
		}
		began := time.Now()
		for range 3 {
			if alive(open()) {
				t.Errorf("TLS %t: a fourth was served", secure)
			}
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("TLS %t: they weren't closed at once: %v", secure, took)
		}
		if !alive(ordinary) || !unusuallyAlive(unusual) {
			t.Errorf("TLS %t: those within the limit aren't served any more", secure)
		}
		idle.Close()
		unusual.Close()
		for by := time.Now().Add(5 * time.Second); l.Connections() > 1 && time.Now().Before(by); {
			alive(ordinary)
		}
		if n := l.Connections(); n != 1 {
			t.Errorf("TLS %t: %d connections are counted, one is open", secure, n)
		}
		if !alive(open()) {
			t.Errorf("TLS %t: after one went, the next isn't served", secure)
		}
	}
}

// unusuallyAlive makes a request that the fast way in hands over.
func unusuallyAlive(c net.Conn) bool {
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nPragma: no-cache\r\n\r\n"); err != nil {
		return false
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	return err == nil && strings.HasPrefix(string(b[:n]), "HTTP/1.1 200 OK\r\n")
}

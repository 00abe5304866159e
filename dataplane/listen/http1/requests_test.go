package http1_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/listen/http1"
	"github.com/hopgate/hopgate/dataplane/request"
	"github.com/hopgate/hopgate/dataplane/request/reply"
)

const (
	post = "POST /echo/mcp HTTP/1.1\r\nHost: a\r\n"
	get  = "GET /echo/mcp HTTP/1.1\r\nHost: a\r\n"
)

func itoa(n int) string { return strconv.Itoa(n) }

func certificate(t testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)},
		&x509.Certificate{}, key.Public(), key)
	fatal(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// copied keeps what is only lent to a handler.
func copied(in *request.Inbound) request.Inbound {
	out := *in
	out.Context, out.Body, out.Header = nil, nil, out.Header.Clone()
	return out
}

func TestOrdinaryRequestsArriveAsTheyWereSent(t *testing.T) {
	got := make(chan request.Inbound, 1)
	r := serving(t, http1.Config{Handle: func(in *request.Inbound, sink reply.Sink) { got <- copied(in); mirror(in, sink) },
		Fallback: func(c net.Conn) { t.Error("handed over"); c.Close() }})
	c := r.dial(t)
	for name, tt := range map[string]struct {
		q, answer string
		want      request.Inbound
	}{
		"bare":             {"GET / HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET / ", request.Inbound{Method: "GET", Path: "/", Host: "a:80", Header: http.Header{}}},
		"a body":           {"POST /m HTTP/1.1\r\nhost: a\r\ncontent-length:3\r\n\r\nabc", "POST /m abc", request.Inbound{Method: "POST", Path: "/m", Host: "a", Length: 3, Header: http.Header{"Content-Length": {"3"}}}},
		"an empty body":    {"DELETE /m HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", "DELETE /m ", request.Inbound{Method: "DELETE", Path: "/m", Host: "a", Header: http.Header{"Content-Length": {"0"}}}},
		"a query":          {"GET /m?a=%zz&b=?/ HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET /m ", request.Inbound{Method: "GET", Path: "/m", Query: "a=%zz&b=?/", Host: "[::1]:80", Header: http.Header{}}},
		"keep-alive":       {"GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", "GET / ", request.Inbound{Method: "GET", Path: "/", Host: "a", Header: http.Header{"Connection": {"Keep-Alive"}}}},
		"names in any way": {"GET / HTTP/1.1\r\nHOST: a\r\nX-LITELLM-api-KEY: k\r\nx-foo_bar: 1\r\nX-Foo_bar:2 \r\n\r\n", "GET / ", request.Inbound{Method: "GET", Path: "/", Host: "a", Header: http.Header{"X-Litellm-Api-Key": {"k"}, "X-Foo_bar": {"1", "2"}}}},
		"blanks":           {"GET / HTTP/1.1\r\nHost:\t a\t\r\nAccept:\r\nCookie: \ta b\tc\x80 \r\n\r\n", "GET / ", request.Inbound{Method: "GET", Path: "/", Host: "a", Header: http.Header{"Accept": {""}, "Cookie": {"a b\tc\x80"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			c.says(tt.q, tt.answer)
			tt.want.Proto, tt.want.Remote = "HTTP/1.1", c.LocalAddr().String()
			if in := within(t, "the request", got); !reflect.DeepEqual(in, tt.want) {
				t.Errorf("got  %+v\nwant %+v", in, tt.want)
			}
		})
	}
}

// unusual requests: none may reach the handler.
var unusual = map[string]string{
	"another method":            "PUT /echo/mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
	"OPTIONS":                   "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"HEAD":                      "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
	"lower-case method":         "get / HTTP/1.1\r\nHost: a\r\n\r\n",
	"absolute form":             "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
	"escaped path":              "GET /%41 HTTP/1.1\r\nHost: a\r\n\r\n",
	"fragment":                  "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
	"two blanks":                "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
	"HTTP/1.0":                  "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
	"HTTP/1.2":                  "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
	"no version":                "GET /\r\n\r\n",
	"empty line first":          "\r\n" + get + "\r\n",
	"no host":                   "GET / HTTP/1.1\r\n\r\n",
	"empty host":                "GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"two hosts":                 get + "Host: b\r\n\r\n",
	"odd host":                  "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
	"chunked":                   post + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
	"length and chunked":        post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
	"chunked and length":        post + "tRANSFER-eNCODING: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
	"another coding":            post + "Transfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab",
	"hidden coding":             post + "Transfer-Encoding: \x0bchunked\r\nContent-Length: 2\r\n\r\nab",
	"two lengths":               post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
	"two equal lengths":         post + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
	"list of lengths":           post + "Content-Length: 2, 2\r\n\r\nab",
	"signed length":             post + "Content-Length: +2\r\n\r\nab",
	"negative length":           post + "Content-Length: -2\r\n\r\nab",
	"hex length":                post + "Content-Length: 0x2\r\n\r\nab",
	"empty length":              post + "Content-Length:\r\n\r\nab",
	"huge length":               post + "Content-Length: 99999999999999999999\r\n\r\nab",
	"length above the limit":    post + "Content-Length: 67108865\r\n\r\nab",
	"blank before the colon":    post + "Content-Length : 2\r\n\r\nab",
	"tab before the colon":      post + "Transfer-Encoding\t: chunked\r\nContent-Length: 2\r\n\r\nab",
	"no name":                   get + ": x\r\n\r\n",
	"no colon":                  get + "x\r\n\r\n",
	"bare LF at the end":        "GET / HTTP/1.1\r\nHost: a\r\n\n",
	"bare LFs":                  "GET / HTTP/1.1\nHost: a\n\n",
	"bare LF inside":            get + "X: a\nContent-Length: 2\r\n\r\nab",
	"empty bare line":           "POST / HTTP/1.1\r\nHost: a\r\n\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
	"bare CR":                   get + "X: a\rContent-Length: 2\r\n\r\n",
	"NUL":                       get + "X: a\x00b\r\n\r\n",
	"NUL in the name":           get + "X\x00: a\r\n\r\n",
	"folded line":               get + "X: a\r\n b\r\n\r\n",
	"folded first line":         "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
	"expectation":               post + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
	"upgrade":                   get + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	"named connection field":    get + "Connection: X-Foo\r\n\r\n",
	"two connection fields":     get + "Connection: close\r\nConnection: keep-alive\r\n\r\n",
	"trailer announced":         post + "Trailer: X\r\nContent-Length: 2\r\n\r\nab",
	"TE":                        get + "TE: trailers\r\n\r\n",
	"Pragma":                    get + "Pragma: no-cache\r\n\r\n",
	"many fields":               get + strings.Repeat("X: a\r\n", 100) + "\r\n",
	"large head":                get + "X: " + strings.Repeat("a", 16<<10) + "\r\n\r\n",
	"half a head, then the end": "GET / HTTP/1.1\r\nHo",
	"TLS":                       "\x16\x03\x01\x00\xf8\x01\x00\x00\xf4\x03\x03",
	"HTTP/2":                    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"words":                     "hello, is it me you're looking for\r\n",
}

func TestUnusualRequestsAreHandedOverWhole(t *testing.T) {
	over := make(chan string, 1)
	r := serving(t, http1.Config{
		Handle: func(in *request.Inbound, sink reply.Sink) {
			if in.Path != "/first" {
				t.Errorf("%s %s was taken", in.Method, in.Path)
			}
			mirror(in, sink)
		},
		Fallback: func(c net.Conn) {
			b, _ := io.ReadAll(c)
			over <- string(b)
			c.Close()
		}})
	for name, q := range unusual {
		for before, first := range map[string]string{"": "", ", after another": "GET /first HTTP/1.1\r\nHost: a\r\n\r\n"} {
			t.Run(name+before, func(t *testing.T) {
				c := r.dial(t)
				if first != "" {
					c.says(first, "GET /first ")
				}
				c.send(q)
				fatal(t, c.Conn.(*net.TCPConn).CloseWrite())
				if got := within(t, "handing over", over); got != q {
					t.Errorf("got  %q\nwant %q", got, q)
				}
			})
		}
	}
}

func TestUnusualRequestsAreAnsweredAsByNetHTTP(t *testing.T) {
	r := serving(t, http1.Config{Handle: func(in *request.Inbound, _ reply.Sink) { t.Errorf("%s %s was taken", in.Method, in.Path) }})
	std := standard(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			std.give(c)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	for name, q := range unusual {
		if name == "HTTP/2" {
			continue // how much of it is said before the end is noticed depends; it has a test of its own
		}
		t.Run(name, func(t *testing.T) {
			var got [2]string
			for i, addr := range []string{r.addr, l.Addr().String()} {
				nc, err := net.Dial("tcp", addr)
				fatal(t, err)
				c := called(t, nc)
				c.send(q)
				nc.(*net.TCPConn).CloseWrite() // fails when the other side was quicker to end it
				b, _ := io.ReadAll(c)          // a reset tells as much as an end
				got[i] = string(b)
			}
			if got[0] != got[1] {
				t.Errorf("got  %q\nwant %q", got[0], got[1])
			}
		})
	}
}

func TestHTTP2WithPriorKnowledgeIsHandedOver(t *testing.T) {
	r := serving(t, http1.Config{Handle: mirror})
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &p}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Post("http://"+r.addr+"/x", "text/plain", strings.NewReader("ab"))
	fatal(t, err)
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if want := "HTTP/2.0 POST /x " + r.addr + " ab"; err != nil || string(b) != want {
		t.Errorf("%q, %v; want %q", b, err, want)
	}
}

func TestHeadsInSmallPieces(t *testing.T) {
	r := serving(t, http1.Config{Handle: mirror})
	c := r.dial(t)
	fatal(t, c.Conn.(*net.TCPConn).SetNoDelay(true))
	for range 2 {
		for _, b := range []byte(post + "Content-Length: 3\r\n\r\nabc") {
			c.send(string(b))
		}
		c.hears("POST /echo/mcp abc")
	}
}

func TestAThousandRequestsOverOneConnection(t *testing.T) {
	r := serving(t, http1.Config{Handle: mirror, Fallback: func(c net.Conn) { t.Error("handed over"); c.Close() }})
	c := r.dial(t)
	big := strings.Repeat("b", 70_000)
	for i := 0; i < 1000; i += 5 {
		n := "/" + itoa(i)
		switch i % 3 {
		case 0: // one by one
			c.says("GET "+n+" HTTP/1.1\r\nHost: a\r\nX-"+itoa(i%7)+": "+itoa(i)+"\r\n\r\n", "GET "+n+" ")
			c.says("POST "+n+" HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n"+big, "POST "+n+" "+big)
		default: // in one go
			c.send("GET " + n + " HTTP/1.1\r\nHost: a\r\n\r\nPOST " + n + " HTTP/1.1\r\nContent-Length: 3\r\nHost: a\r\n\r\nabc")
			c.hears("GET " + n + " ")
			c.hears("POST " + n + " abc")
		}
		c.send(strings.Repeat("DELETE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345", 3))
		for range 3 {
			c.hears("DELETE /x 12345")
		}
	}
}

func TestAGoClientIsServed(t *testing.T) {
	r := serving(t, http1.Config{Handle: mirror})
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	for i := range 20 {
		body := strings.Repeat("x", i*4000)
		res, err := (&http.Client{Transport: tr}).Post("http://"+r.addr+"/p", "text/plain", strings.NewReader(body))
		fatal(t, err)
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(b) != "POST /p "+body {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
	}
}

func TestBodiesNobodyReads(t *testing.T) {
	r := serving(t, http1.Config{Handle: func(_ *request.Inbound, sink reply.Sink) { whole(sink, "no") }})
	c := r.dial(t)
	for _, n := range []int{1, 100} { // here with the head
		c.says(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", post, n, strings.Repeat("x", n)), "no")
	}
	for _, n := range []int{200_000, 1 << 20} { // the rest isn't waited for, and the answer arrives all the same
		c := r.dial(t)
		go io.WriteString(c.Conn, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", post, n, strings.Repeat("x", n)))
		if res := c.hears("no"); !res.close {
			t.Errorf("%d bytes were to be read away", n)
		}
		c.ended()
	}
}

func TestConfigsThatCantWork(t *testing.T) {
	fallback, log := func(net.Conn) {}, quiet
	for name, cfg := range map[string]http1.Config{
		"Handle":   {Fallback: fallback, Log: log},
		"Fallback": {Handle: mirror, Log: log},
		"Log":      {Handle: mirror, Fallback: fallback},
		"negative": {Handle: mirror, Fallback: fallback, Log: log, IdleTimeout: -1},
	} {
		if _, err := http1.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTLSConnectionsAreServedAndWatched(t *testing.T) {
	server, client := selfSigned(t)
	gone := make(chan error, 1)
	r := servingOver(t, http1.Config{Handle: func(in *request.Inbound, sink reply.Sink) {
		switch in.Path {
		case "/wait":
			<-in.Context.Done()
			gone <- in.Context.Err()
		case "/slow": // a watcher reads meanwhile
			sink.Flush()
			io.WriteString(sink, "late")
		default:
			mirror(in, sink)
		}
	}}, server)
	raw, err := net.Dial("tcp", r.addr)
	fatal(t, err)
	c := called(t, client(raw))
	for range 20 {
		c.says("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", "late")
		c.says(post+"Content-Length: 2\r\n\r\nab", "POST /echo/mcp ab")
	}
	c.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
	raw.Close()
	if err := within(t, "the caller's leaving", gone); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

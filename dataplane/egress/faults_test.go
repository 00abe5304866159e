package egress_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/proto/fault"
)

// says answers every connection with the same bytes, once the request's head has come.
func says(answer string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, answer)
		}
	}
}

// silent reads until it is closed.
func silent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestFaultsNameTheStep(t *testing.T) {
	gone := listen(t, silent)
	full := "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
	for name, c := range map[string]struct {
		url   string
		dns   *names
		dial  func(context.Context, string, string) (net.Conn, error)
		phase fault.Phase
		kind  fault.Kind
	}{
		"unknown name":      {url: "http://nobody.test/secret", phase: fault.DNS, kind: fault.NotFound},
		"no address":        {url: "http://auth.test/secret", dns: resolving("auth.test", " "), phase: fault.DNS, kind: fault.NotFound},
		"silent resolver":   {url: "http://auth.test/secret", dns: resolving("auth.test", "silence"), phase: fault.DNS, kind: fault.TimedOut},
		"nobody listens":    {url: "http://127.0.0.1:1/secret", phase: fault.Connect, kind: fault.Refused},
		"packets are lost":  {url: "http://" + gone + "/secret", dial: hang, phase: fault.Connect, kind: fault.TimedOut},
		"plain on TLS port": {url: "https://" + listen(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 No\r\n\r\n"); silent(c) }) + "/secret", phase: fault.TLS, kind: fault.Malformed},
		"hello unanswered":  {url: "https://" + listen(t, silent) + "/secret", phase: fault.TLS, kind: fault.TimedOut},
		"no answer":         {url: "http://" + listen(t, silent) + "/secret", phase: fault.Headers, kind: fault.TimedOut},
		"hangs up":          {url: "http://" + listen(t, says("")) + "/secret", phase: fault.Headers, kind: fault.Reset},
		"no HTTP":           {url: "http://" + listen(t, says("220 mail.secret.example ESMTP\r\n")) + "/secret", phase: fault.Headers, kind: fault.Malformed},
		"endless head":      {url: "http://" + listen(t, says("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 80<<10)+"\r\n\r\n")) + "/secret", phase: fault.Headers, kind: fault.Malformed},
		"short body":        {url: "http://" + listen(t, says(full+"123")) + "/secret", phase: fault.Body, kind: fault.Reset},
		"body falls silent": {url: "http://" + listen(t, func(c net.Conn) { says(full + "123")(c); silent(c) }) + "/secret", phase: fault.Body, kind: fault.TimedOut},
		"one byte too many": {url: "http://" + listen(t, says(full+"1234567890")) + "/secret", phase: fault.Body, kind: fault.TooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dns := c.dns
			if dns == nil {
				dns = resolving("")
			}
			client := newClient(t, egress.Config{Resolver: dns, DialContext: c.dial})
			_, err := client.Do(t.Context(), &egress.Request{URL: c.url, Limit: 9, Timeout: 300 * time.Millisecond})
			wantFault(t, err, c.phase, c.kind)
		})
	}
}

func hang(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAFaultOfATokenRequestSaysSo(t *testing.T) {
	client := newClient(t, egress.Config{})
	for _, p := range []fault.Phase{fault.Token, fault.Exchange} {
		_, err := client.Do(t.Context(), &egress.Request{Method: "POST", URL: "http://" + listen(t, says("")) + "/secret", Phase: p})
		wantFault(t, err, p, fault.Reset)
		_, err = client.Do(t.Context(), &egress.Request{Method: "POST", URL: "http://127.0.0.1:1/secret", Phase: p})
		wantFault(t, err, fault.Connect, fault.Refused)
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	good, other := newAuthority(t), newAuthority(t)
	port := good.serveTLS(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	dns := &names{known: map[string][]string{"auth.test": {"127.0.0.1"}, "else.test": {"127.0.0.1"}}}
	client := newClient(t, egress.Config{Resolver: dns})
	roots := good.roots()
	for range 2 {
		a, err := client.Do(t.Context(), &egress.Request{URL: "https://auth.test:" + port + "/", TLS: roots})
		if err != nil || string(a.Body) != "ok" {
			t.Fatalf("%v, %v", a, err)
		}
	}
	if dns.asked != 1 {
		t.Errorf("asked for the name %d times; the connection wasn't kept", dns.asked)
	}
	_, err := client.Do(t.Context(), &egress.Request{URL: "https://auth.test:" + port + "/secret", TLS: other.roots()})
	wantFault(t, err, fault.TLS, fault.Unauthenticated)
	_, err = client.Do(t.Context(), &egress.Request{URL: "https://auth.test:" + port + "/secret"})
	wantFault(t, err, fault.TLS, fault.Unauthenticated)
	_, err = client.Do(t.Context(), &egress.Request{URL: "https://else.test:" + port + "/secret", TLS: roots})
	wantFault(t, err, fault.TLS, fault.Mismatch)
}

func TestTheCallersEndIsInTheFault(t *testing.T) {
	client := newClient(t, egress.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	url := "http://" + listen(t, func(c net.Conn) { says("")(c); cancel(); silent(c) }) + "/secret"
	_, err := client.Do(ctx, &egress.Request{URL: url})
	if wantFault(t, err, fault.Headers, fault.TimedOut); !errors.Is(err, context.Canceled) {
		t.Errorf("the cause is lost: %v", err)
	}
}

func TestADefectiveRequestIsOurs(t *testing.T) {
	client := newClient(t, egress.Config{})
	for _, r := range []egress.Request{{URL: ""}, {URL: "/x"}, {URL: "ftp://h/"}, {URL: "http://u:p@h/"}, {URL: "http://h/%zz"}, {URL: "http://127.0.0.1:1/", Method: "A B"}} {
		_, err := client.Do(t.Context(), &r)
		if f := fault.As(err); f == nil || f.Hop != fault.Gateway || f.Kind != fault.Internal {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

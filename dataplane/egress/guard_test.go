package egress_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestPublicAddresses(t *testing.T) {
	for a, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "172.15.0.1": true, "172.32.0.1": true, "100.63.255.255": true, "100.128.0.1": true, "192.0.1.1": true,
		"2606:4700::1111": true, "2a00:1450::1": true, "::ffff:8.8.8.8": true, "64:ff9b::808:808": true, "2001:4860:4860::8888": true,

		"127.0.0.1": false, "127.255.255.254": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"169.254.169.254": false, "169.254.0.1": false, "100.64.0.1": false, "100.100.100.200": false, "168.63.129.16": false, "192.0.0.192": false,
		"0.0.0.0": false, "0.1.2.3": false, "224.0.0.1": false, "239.1.1.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"192.0.2.1": false, "198.18.0.1": false, "198.19.255.255": false, "198.51.100.1": false, "203.0.113.1": false, "192.88.99.1": false,
		"::": false, "::1": false, "fe80::1": false, "fc00::1": false, "fd00:ec2::254": false, "ff02::1": false, "fec0::1": false,
		"::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "::8.8.8.8": false,
		"64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b::a00:1": false, "64:ff9b:1::1": false,
		"2002:7f00:1::1": false, "2001::1": false, "2001:db8::1": false, "3fff::1": false, "5f00::1": false, "100::1": false, "2606:4700::1%eth0": false,
	} {
		if got := egress.Public(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
}

func TestStrangersURLsLeadToPublicPlacesOnly(t *testing.T) {
	for name, c := range map[string]struct{ url, answers string }{
		"plain http":            {"http://auth.test/secret", "8.8.8.8"},
		"port of mail":          {"https://auth.test:25/secret", "8.8.8.8"},
		"port 0":                {"https://auth.test:0/secret", "8.8.8.8"},
		"port out of range":     {"https://auth.test:70000/secret", "8.8.8.8"},
		"userinfo":              {"https://u:secret@auth.test/", "8.8.8.8"},
		"no host":               {"https:///secret", "8.8.8.8"},
		"not a URL":             {"::", "8.8.8.8"},
		"loopback":              {"https://auth.test/secret", "127.0.0.1"},
		"metadata":              {"https://auth.test/secret", "169.254.169.254"},
		"metadata over IPv6":    {"https://auth.test/secret", "::ffff:169.254.169.254"},
		"one of several":        {"https://auth.test/secret", "8.8.8.8 10.0.0.1"},
		"literal loopback":      {"https://127.0.0.1/secret", ""},
		"literal IPv6":          {"https://[::1]/secret", ""},
		"literal with a zone":   {"https://[fe80::1%25lo]/secret", ""},
		"unspecified":           {"https://0.0.0.0:8443/secret", ""},
		"resolves to the cloud": {"https://metadata.google.internal/secret", "169.254.169.254"},
	} {
		t.Run(name, func(t *testing.T) {
			dns := &names{known: map[string][]string{"auth.test": {c.answers}, "metadata.google.internal": {c.answers}}}
			dialed := ""
			client := newClient(t, egress.Config{Resolver: dns, DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
				dialed = addr
				return nil, io.EOF
			}})
			_, err := client.Do(t.Context(), &egress.Request{URL: c.url, Stranger: true, Retries: 3})
			wantFault(t, err, fault.Connect, fault.Denied)
			if dialed != "" {
				t.Errorf("dialed %s", dialed)
			}
		})
	}
}

func TestTheAddressThatWasCheckedIsDialed(t *testing.T) {
	dns := resolving("auth.test", "8.8.8.8", "127.0.0.1") // a name that changes its mind
	var dialed []string
	client := newClient(t, egress.Config{Resolver: dns, DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
		dialed = append(dialed, addr)
		return nil, &net.OpError{Op: "dial", Err: io.EOF}
	}})
	_, err := client.Do(t.Context(), &egress.Request{URL: "https://auth.test/secret", Stranger: true})
	wantFault(t, err, fault.Connect, fault.Unreachable)
	if len(dialed) != 1 || dialed[0] != "8.8.8.8:443" || dns.asked != 1 {
		t.Errorf("dialed %v after %d questions", dialed, dns.asked)
	}
	_, err = client.Do(t.Context(), &egress.Request{URL: "https://auth.test/secret", Stranger: true})
	wantFault(t, err, fault.Connect, fault.Denied)
}

func TestAllowedRangesAndUncheckedConnectionsStayApart(t *testing.T) {
	ca := newAuthority(t)
	port := ca.serveTLS(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	roots := ca.roots()
	request := func(stranger bool) *egress.Request {
		return &egress.Request{URL: "https://auth.test:" + port + "/", TLS: roots, Stranger: stranger}
	}
	allowing := newClient(t, egress.Config{Resolver: resolving("auth.test", "127.0.0.1"), Allow: loopback(t)})
	if a, err := allowing.Do(t.Context(), request(true)); err != nil || string(a.Body) != "ok" {
		t.Errorf("%+v, %v", a, err)
	}
	strict := newClient(t, egress.Config{Resolver: resolving("auth.test", "127.0.0.1")})
	if _, err := strict.Do(t.Context(), request(false)); err != nil {
		t.Fatal(err)
	}
	_, err := strict.Do(t.Context(), request(true)) // the kept connection to the same place must not serve a stranger
	wantFault(t, err, fault.Connect, fault.Denied)
}

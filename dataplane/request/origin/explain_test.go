package origin_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/table"
)

func TestEachStepIsExplained(t *testing.T) {
	c := forged{remote: proxy, host: "backend", headers: "X-Forwarded-For: 10.0.0.1, 203.0.113.9, 10.1.0.7|X-Forwarded-Proto: https|X-Forwarded-Host: mcp.example.com, inner|X-Real-Ip: 1.1.1.1"}
	l := origin.Listener{}
	e := l.Explain(c.request(), edge)
	const want = `ingress  edge
peer     10.1.0.5: trusted proxy (10.1.0.0/16)
header   x-forwarded-for: 10.0.0.1 [ignored: left of where the walk stopped], 203.0.113.9 [the client], 10.1.0.7 [trusted proxy (10.1.0.0/16)]
header   x-forwarded-host: mcp.example.com [taken], inner [ignored: it isn't at the client's place]
header   x-forwarded-proto: https [taken]
header   x-real-ip (not read: it isn't among the forwarded_headers): 1.1.1.1
client   203.0.113.9: the first address from the right that isn't a trusted proxy
         external: in no internal range, or unknown
scheme   https: x-forwarded-proto
host     mcp.example.com: x-forwarded-host
origin   https://mcp.example.com: what a trusted proxy told
warning  x-forwarded-proto has 1 of 2 entries: the last one is taken
`
	if got := e.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	body, err := json.Marshal(e)
	if err != nil || !strings.Contains(string(body), `"value":"203.0.113.9","verdict":"the client"`) || !strings.Contains(string(body), `"trusted_by":"10.1.0.0/16"`) {
		t.Errorf("%v: %s", err, body)
	}
}

func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name string
		ing  *table.Ingress
		in   forged
		want string
	}{
		{"switch without ranges", noRanges, forged{remote: proxy, headers: "X-Forwarded-For: 1.1.1.1"}, "without trusted_proxies: forwarding headers are ignored"},
		{"ranges without switch", off, forged{remote: proxy}, "use_forwarded_headers is off"},
		{"undeclared proxy", edge, forged{remote: inside, headers: "X-Forwarded-For: 1.1.1.1"}, "10.9.9.9 sends x-forwarded-for and isn't a trusted proxy"},
		{"rejected ingress", closed, forged{remote: inside}, "the ingress closed was rejected"},
		{"a host that isn't one", edge, forged{remote: proxy, headers: "X-Forwarded-For: 1.1.1.1|X-Forwarded-Host: a/b"}, "the entry of x-forwarded-host can't be used"},
		{"a scheme that isn't one", edge, forged{remote: proxy, headers: "X-Forwarded-For: 1.1.1.1|X-Forwarded-Proto: ftp"}, "the entry of x-forwarded-proto can't be used"},
		{"none of the declared hosts", declared, forged{remote: afar, host: "10.0.0.7:4000"}, "no public origin is for the host 10.0.0.7:4000"},
	} {
		l := origin.Listener{}
		e := l.Explain(c.in.request(), c.ing)
		if !strings.Contains(strings.Join(e.Warnings, "\n"), c.want) || !strings.Contains(e.String(), c.want) {
			t.Errorf("%s: %q", c.name, e.Warnings)
		}
	}
	l := origin.Listener{}
	c := forged{remote: afar, host: "mcp.example.com"}
	if e := l.Explain(c.request(), declared); len(e.Warnings) > 0 {
		t.Errorf("nothing is odd: %q", e.Warnings)
	}
	if w := origin.Warnings(noRanges); len(w) != 1 {
		t.Errorf("got %q", w)
	}
}

func TestLongListsAreShownInPart(t *testing.T) {
	l := origin.Listener{}
	in := &origin.Request{Remote: proxy, Host: strings.Repeat("h", 5000), Header: http.Header{"X-Forwarded-For": {strings.Repeat("10.0.0.1,", 5000) + "203.0.113.9"},
		"Forwarded": {strings.Repeat("for=x,", 5000)}, "X-Forwarded-Proto": {strings.Repeat("x", 5000)}}}
	for _, ing := range []*table.Ingress{edge, rfc, none} {
		e := l.Explain(in, ing)
		if body, err := json.Marshal(e); err != nil || len(body) > 20000 || len(e.String()) > 20000 {
			t.Errorf("%v, %d bytes", err, len(body))
		}
		if strings.Count(e.String(), "203.0.113.9") == 0 {
			t.Error("the entry that counts isn't shown")
		}
	}
}

func TestTheDebugHeaderIsOneLine(t *testing.T) {
	l := origin.Listener{}
	c := forged{remote: proxy, host: "a\r\nb", headers: "X-Forwarded-For: 203.0.113.9"}
	f := l.Settle(c.request(), edge)
	got := l.Describe(&f, edge)
	if want := "origin=unknown (the host is not a host name); client=203.0.113.9 (the first address from the right that isn't a trusted proxy); external"; got != want {
		t.Errorf("got %q", got)
	}
}

package origin_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/table"
)

var lists = []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "Forwarded"}

// passedOn is what trusted proxies made of a caller's request: each wrote down who called it, and its view of scheme, host and port.
func passedOn(t *rapid.T) http.Header {
	inner := rapid.SliceOfN(rapid.SampledFrom([]string{"10.1.0.7", "10.1.2.3:80", "203.0.113.10", "[fd00:1::5]:443", "::ffff:10.1.0.9"}), 0, 3).Draw(t, "proxies")
	client := rapid.SampledFrom([]string{"198.51.100.7", "198.51.100.7:5000", "2001:db8::7", "[2001:db8::7]:80", "192.168.1.1", "unknown", "_x", ""}).Draw(t, "client")
	h := http.Header{}
	entries := append([]string{client}, inner...)
	h["X-Forwarded-For"] = split(t, entries)
	n := len(entries)
	each := func(values ...string) []string {
		return split(t, rapid.SliceOfN(rapid.SampledFrom(values), n, n).Draw(t, "values"))
	}
	h["X-Forwarded-Proto"] = each("http", "https", "ftp")
	h["X-Forwarded-Host"] = each("mcp.example.com", "b.example:8443", "[2001:db8::1]", "bad host")
	h["X-Forwarded-Port"] = each("443", "8443", "x")
	for i, e := range entries {
		entries[i] = `for="` + e + `"` + rapid.SampledFrom([]string{"", ";proto=https", `;host="a.example"`, `;proto=http;host="b.example:81"`, `;ext="a\",b"`}).Draw(t, "more")
	}
	entries[0] += `;x=1`
	if !strings.Contains(entries[0], "proto") {
		entries[0] += ";proto=https"
	}
	if !strings.Contains(entries[0], "host") {
		entries[0] += ";host=c.example"
	}
	h["Forwarded"] = split(t, entries)
	return h
}

// split puts entries into lines.
func split(t *rapid.T, entries []string) []string {
	lines := []string{entries[0]}
	for _, e := range entries[1:] {
		if rapid.Bool().Draw(t, "line") {
			lines = append(lines, e)
			continue
		}
		lines[len(lines)-1] += rapid.SampledFrom([]string{",", ", ", " ,\t"}).Draw(t, "comma") + e
	}
	return lines
}

// odd is what a caller may have sent before the proxies wrote.
var odd = rapid.OneOf(
	rapid.SampledFrom([]string{"10.0.0.1", "127.0.0.1", "10.1.0.7", "unknown", "", ",", ",,", `"`, `\`, `for="`, `for=10.0.0.1`, `for=10.0.0.1;host=evil.example`,
		`for=10.1.0.7;x="\`, `x="a", for="b`, "https", "evil.example", "1"}),
	rapid.StringMatching(`[ -~\t]{0,40}`),
)

// TestNothingInFrontOfTheListsChangesAnything: what a caller puts in front, as entries of the same line or as lines of its own, is ignored.
func TestNothingInFrontOfTheListsChangesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := passedOn(t)
		ing := rapid.SampledFrom([]*table.Ingress{edge, rfc, addrOnly, nameOnly, narrow, declared}).Draw(t, "ingress")
		l := origin.Listener{}
		in := &origin.Request{Remote: proxy, Host: "backend", Header: h}
		want := l.Settle(in, ing)
		wantOrigin, _ := l.Origin(&want, ing)
		spoiled := h.Clone()
		for _, k := range lists {
			for range rapid.IntRange(0, 3).Draw(t, "times") {
				junk := odd.Draw(t, "junk")
				if rapid.Bool().Draw(t, "own line") {
					spoiled[k] = slices.Insert(spoiled[k], 0, junk)
				} else {
					spoiled[k][0] = junk + "," + spoiled[k][0]
				}
			}
		}
		in.Header = spoiled
		got := l.Settle(in, ing)
		gotOrigin, _ := l.Origin(&got, ing)
		got.Ignored, want.Ignored = 0, 0
		if got != want || gotOrigin != wantOrigin {
			t.Fatalf("%s: %v\ngot  %+v %s\nwant %+v %s", ing.Name, spoiled, got, gotOrigin, want, wantOrigin)
		}
	})
}

// TestTheClientNeverComesFromTheCaller: where both headers are named, whatever a caller adds makes the client at most unknown.
func TestTheClientNeverComesFromTheCaller(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := origin.Listener{}
		h := http.Header{"X-Forwarded-For": {odd.Draw(t, "junk") + ", 198.51.100.7"}}
		if rapid.Bool().Draw(t, "with Forwarded") {
			h["Forwarded"] = rapid.SliceOfN(odd, 1, 3).Draw(t, "forwarded")
		}
		f := l.Settle(&origin.Request{Remote: proxy, Host: "backend", Header: h}, both)
		if f.Internal || f.Client.IsValid() && f.Client != netip.MustParseAddr("198.51.100.7") {
			t.Fatalf("%v: %+v", h, f)
		}
	})
}

// FuzzSettle: nothing panics, an unknown client is external, the explanation agrees with the facts, and an origin is one.
func FuzzSettle(f *testing.F) {
	f.Add("10.1.0.5:1", "backend", "10.0.0.1, 203.0.113.9", "https", "mcp.example.com", "443", `for="[2001:db8::7]:1";proto=https`, uint8(1))
	f.Add("[::ffff:10.1.0.5]:1", "[::1]:80", ",,", "", "[::1]:1", "x", `for="a\"b, c`, uint8(3))
	f.Add("@", "", "", "", "", "", "", uint8(7))
	ingresses := []*table.Ingress{none, edge, rfc, both, off, noRanges, closed, declared}
	f.Fuzz(func(t *testing.T, remote, host, xff, proto, xfh, port, fwd string, which uint8) {
		ing := ingresses[int(which)%len(ingresses)]
		in := &origin.Request{Remote: remote, Host: host, Header: http.Header{"X-Forwarded-For": strings.Split(xff, "\n"), "X-Forwarded-Proto": {proto},
			"X-Forwarded-Host": {xfh}, "X-Forwarded-Port": {port}, "Forwarded": {fwd}}}
		l := origin.Listener{}
		facts := l.Settle(in, ing)
		if facts.Internal && !facts.Client.IsValid() || facts.Trusted && !ing.Proxies.Contains(facts.Peer) {
			t.Errorf("%+v", facts)
		}
		o, how := l.Origin(&facts, ing)
		if again, _ := l.Origin(&origin.Facts{Scheme: facts.Scheme, Host: strings.TrimPrefix(o, facts.Scheme+"://")}, none); len(ing.Public) == 0 && again != o {
			t.Errorf("%q becomes %q", o, again)
		}
		e := l.Explain(in, ing)
		if e.Origin != o || e.OriginBy != how || e.Internal != facts.Internal || e.Trusted != facts.Trusted || e.Ignored != facts.Ignored ||
			facts.Client.IsValid() && e.Client != facts.Client.String() {
			t.Errorf("%+v, but %+v", e, facts)
		}
		if _, err := json.Marshal(e); err != nil || e.String() == "" || l.Describe(&facts, ing) == "" {
			t.Error(err)
		}
		_ = l.Check(in, &facts, ing)
	})
}

var kinds = []struct {
	name string
	ing  *table.Ingress
	in   origin.Request
}{
	{"outsider", none, origin.Request{Remote: afar, Host: "mcp.example.com", Header: ordinary()}},
	{"insider", none, origin.Request{Remote: inside, Host: "mcp.example.com", Header: ordinary()}},
	{"this machine", none, origin.Request{Remote: "127.0.0.1:40000", Host: "localhost:4000", Header: ordinary()}},
	{"through three proxies", edge, origin.Request{Remote: proxy, Host: "backend", Header: ordinary("X-Forwarded-For", "198.51.100.7, 10.1.0.7, 10.1.0.8, 10.1.0.9",
		"X-Forwarded-Proto", "https", "X-Forwarded-Host", "mcp.example.com")}},
	{"through three proxies by RFC 7239", rfc, origin.Request{Remote: proxy, Host: "backend", Header: ordinary("Forwarded",
		`for=198.51.100.7;proto=https;host=mcp.example.com, for=10.1.0.7, for=10.1.0.8, for=10.1.0.9;by=10.1.0.5`)}},
}

func ordinary(more ...string) http.Header {
	h := http.Header{"Accept": {"application/json"}, "Content-Type": {"application/json"}, "User-Agent": {"x"}, "X-Litellm-Api-Key": {"x"},
		"Mcp-Protocol-Version": {"2025-11-25"}, "Accept-Encoding": {"gzip"}, "Mcp-Session-Id": {"x"}, "Content-Length": {"1"}, "Traceparent": {"x"}}
	for i := 0; i < len(more); i += 2 {
		h[more[i]] = []string{more[i+1]}
	}
	return h
}

func TestSettlingAllocatesNothing(t *testing.T) {
	l := origin.Listener{}
	for _, k := range kinds {
		if n := testing.AllocsPerRun(100, func() {
			f := l.Settle(&k.in, k.ing)
			if l.Check(&k.in, &f, k.ing) != nil {
				t.Fatal("refused")
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", k.name, n)
		}
	}
}

func BenchmarkSettle(b *testing.B) {
	l := origin.Listener{}
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f := l.Settle(&k.in, k.ing)
				if !f.Peer.IsValid() {
					b.Fatal("no peer")
				}
			}
		})
	}
}

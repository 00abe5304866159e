package session_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/fault"
)

const aggregate = "/mcp"

// many is a session with n servers, each with an id of size bytes.
func many(n, size int) session.Many {
	m := session.Many{
		Capabilities: []byte(`{"roots":{"listChanged":true},"sampling":{}}`), ClientInfo: []byte(`{"name":"claude","version":"2.1"}`),
		Revision: "2025-11-25", Principal: claims.Principal, Endpoint: aggregate, Issued: now, Expires: now.Add(time.Hour),
	}
	for i := range n {
		m.Upstreams = append(m.Upstreams, session.Upstream{Server: fmt.Sprintf("server-%02d", i), Instance: uint32(i) * 77, ID: strings.Repeat("x", size),
			Revision: []string{"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "", "2099-01-01"}[i%6]})
	}
	return m
}

func sealedMany(t testing.TB, m session.Many) (string, int) {
	t.Helper()
	token, n, err := session.SealMany(ring(1), m)
	if err != nil {
		t.Fatal(err)
	}
	return token, n
}

func openMany(t testing.TB, token string) session.Many {
	t.Helper()
	m, err := session.OpenMany(ring(1), token, claims.Principal, aggregate, now)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestASessionOfManyOpens(t *testing.T) {
	for _, n := range []int{0, 1, 2, 32} {
		m := many(n, 40)
		if n > 1 {
			m.Upstreams[1].ID = ""
		}
		token, sealed := sealedMany(t, m)
		got := openMany(t, token)
		if sealed != n || len(got.Upstreams) != n || len(token) > 4096 {
			t.Errorf("%d of %d sealed, %d opened, %d bytes", sealed, n, len(got.Upstreams), len(token))
		}
		if got.Upstreams = append(session.Many{}.Upstreams, got.Upstreams...); !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v, want %+v", got, m)
		}
	}
}

func TestAsManyAreSealedAsFit(t *testing.T) {
	for _, c := range []struct{ n, size, want int }{{40, 40, 32}, {32, 62, 32}, {32, 400, 6}, {2, 2048, 1}, {32, 2048, 1}} {
		m := many(c.n, c.size)
		token, sealed := sealedMany(t, m)
		got := openMany(t, token)
		if sealed != c.want || len(token) > 4096 || !reflect.DeepEqual(got.Upstreams, m.Upstreams[:sealed]) {
			t.Errorf("%d of %d bytes: %d sealed, want %d, in %d bytes", c.n, c.size, sealed, c.want, len(token))
		}
	}
}

func TestLongWordsOfClientsAreReduced(t *testing.T) {
	long := strings.Repeat("y", 1100)
	for _, c := range []struct{ name, capabilities, client, wantCapabilities, wantClient string }{
		{"short", `{"roots":{"listChanged":true}}`, `{"name":"n","version":"1","title":"t"}`,
			`{"roots":{"listChanged":true}}`, `{"name":"n","version":"1","title":"t"}`},
		{"none", "", "", "", ""},
		{"long", `{"roots":{"listChanged":true},"experimental":{"a":{"b":"` + long + `"}}, "sampling" : {}}`, `{"title":"` + long + `","version":"1", "name":"n"}`,
			`{"roots":{},"experimental":{},"sampling":{}}`, `{"version":"1","name":"n"}`},
		{"long names", `{"` + long + `":{},"sampling":{}}`, `{"name":"` + long + `"}`, `{"sampling":{}}`, ""},
		{"no objects", `["` + long + `"]`, `"` + long + `"`, `{}`, ""},
		{"broken", `{"roots":{},"x":` + long, `{"name":"n","x":` + long, `{"roots":{}}`, `{"name":"n"}`},
	} {
		m := many(1, 10)
		m.Capabilities, m.ClientInfo = []byte(c.capabilities), []byte(c.client)
		token, _ := sealedMany(t, m)
		got := openMany(t, token)
		if string(got.Capabilities) != c.wantCapabilities || string(got.ClientInfo) != c.wantClient || len(got.Upstreams) != 1 {
			t.Errorf("%s: %s and %s", c.name, got.Capabilities, got.ClientInfo)
		}
	}
}

// Whatever a client says of itself, what is kept of it is JSON, and there is room for servers.
func FuzzSealMany(f *testing.F) {
	f.Add(`{"roots":{}}`, `{"name":"n"}`, "a")
	f.Add(`{"roots":`+strings.Repeat("[", 2000), `{"name":"`+strings.Repeat("\\u0000", 300)+`"}`, "a")
	f.Fuzz(func(t *testing.T, capabilities, client, id string) {
		m := many(2, 10)
		m.Capabilities, m.ClientInfo, m.Upstreams[0].ID = []byte(capabilities), []byte(client), id
		token, n, err := session.SealMany(ring(1), m)
		if err != nil {
			if f := fault.As(err); f == nil || f.Hop != fault.Upstream || f.Phase != fault.Headers || session.CheckUpstream("s", id) == nil {
				t.Fatal(err)
			}
			return
		}
		got := openMany(t, token)
		if n < 1 || len(token) > 4096 || len(got.Capabilities) > 1024 || len(got.ClientInfo) > 512 {
			t.Fatalf("%d sealed in %d bytes", n, len(token))
		}
		for _, raw := range [][]byte{got.Capabilities, got.ClientInfo} {
			if string(raw) != capabilities && string(raw) != client && len(raw) > 0 && !json.Valid(raw) {
				t.Fatalf("not JSON: %s", raw)
			}
		}
	})
}

func TestOneAndManyAreNotTakenForEachOther(t *testing.T) {
	m := many(2, 40)
	m.Endpoint = claims.Endpoint
	token, _ := sealedMany(t, m)
	if f := refusal(t, ring(1), token, claims.Principal, claims.Endpoint, now); f.Kind != fault.Mismatch || !strings.Contains(f.Message, "another kind") {
		t.Errorf("many as one: %v", f)
	}
	got, err := session.OpenMany(ring(1), issued, claims.Principal, claims.Endpoint, now)
	if f := fault.As(err); f == nil || f.Kind != fault.Mismatch || f.HTTPStatus() != 404 || got.Upstreams != nil || !strings.Contains(f.Message, "another kind") {
		t.Errorf("one as many: %v", err)
	}
}

func TestABadUpstreamIDIsItsServersFault(t *testing.T) {
	m := many(3, 40)
	m.Upstreams[1].ID = "a b"
	if _, _, err := session.SealMany(ring(1), m); fault.As(err) == nil || fault.As(err).Server != "server-01" || fault.As(err).Hop != fault.Upstream {
		t.Error(err)
	}
}

func BenchmarkSealMany(b *testing.B) {
	m, r := many(32, 40), ring(1)
	token, _ := sealedMany(b, m)
	b.ReportAllocs()
	b.ReportMetric(float64(len(token)), "bytes/token")
	for b.Loop() {
		if _, n, err := session.SealMany(r, m); err != nil || n != 32 {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkOpenMany(b *testing.B) {
	r := ring(1)
	token, _ := sealedMany(b, many(32, 40))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := session.OpenMany(r, token, claims.Principal, aggregate, now); err != nil {
			b.Fatal(err)
		}
	}
}

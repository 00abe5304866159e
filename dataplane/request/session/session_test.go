package session_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

var (
	now    = time.Unix(1_790_000_000, 0)
	claims = session.Claims{
		Server: "everything", Upstream: "3f0c1f0a-6f0e-4b7a-9c57-0d4b4a1f7d11", Principal: "key:01JD", Endpoint: "/everything/mcp",
		Revision: "2025-11-25", Issued: now, Expires: now.Add(7 * 24 * time.Hour),
	}
)

func key(id uint32) table.SealKey {
	k := table.SealKey{ID: id}
	for i := range k.Secret {
		k.Secret[i] = byte(id) + byte(i)*7
	}
	return k
}

// ring seals with the first id and opens with all.
func ring(ids ...uint32) *table.Ring {
	r := &table.Ring{Sealing: key(ids[0])}
	for _, id := range ids {
		r.Open = append(r.Open, key(id))
	}
	return r
}

func sealed(t testing.TB, r *table.Ring, c session.Claims) string {
	t.Helper()
	token, err := session.Seal(r, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// refusal opens the token and returns the fault, which must look like a lost session from outside.
func refusal(t *testing.T, r *table.Ring, token, principal, endpoint string, at time.Time) *fault.Error {
	t.Helper()
	c, err := session.Open(r, token, principal, endpoint, at)
	f := fault.As(err)
	if f == nil {
		t.Fatalf("it opened: %+v", c)
	}
	if c != (session.Claims{}) {
		t.Errorf("claims came with a refusal: %+v", c)
	}
	if f.Hop != fault.Client || f.Phase != fault.Session || f.HTTPStatus() != 404 || f.JSONRPCCode() != -32001 || !strings.HasPrefix(f.Message, "Session not found") {
		t.Errorf("not a lost session: %v (%d, %d)", f, f.HTTPStatus(), f.JSONRPCCode())
	}
	return f
}

func TestSealedSessionOpens(t *testing.T) {
	r := ring(1)
	token := sealed(t, r, claims)
	for i := range len(token) {
		if token[i] < 0x21 || token[i] > 0x7e {
			t.Fatalf("byte %#x isn't visible ASCII", token[i])
		}
	}
	if len(token) > 1024 {
		t.Errorf("%d bytes for an id of %d", len(token), len(claims.Upstream))
	}
	got, err := session.Open(r, token, claims.Principal, claims.Endpoint, now)
	if err != nil || got != claims {
		t.Errorf("got %+v, %v", got, err)
	}
	if strings.Contains(token, claims.Upstream) || token == sealed(t, r, claims) {
		t.Error("the token shows the id, or repeats itself")
	}
}

func TestRotatedKeysOpen(t *testing.T) {
	token := sealed(t, ring(1), claims)
	rotated := ring(2, 1)
	if _, err := session.Open(rotated, token, claims.Principal, claims.Endpoint, now); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
	alone := &table.Ring{Sealing: key(1)}
	if _, err := session.Open(alone, token, claims.Principal, claims.Endpoint, now); err != nil {
		t.Errorf("with the sealing key not listed for opening: %v", err)
	}
	if f := refusal(t, ring(2), token, claims.Principal, claims.Endpoint, now); f.Kind != fault.NotFound {
		t.Errorf("key dropped: %v", f)
	}
	forged := ring(1)
	forged.Open[0].Secret[0]++
	if f := refusal(t, forged, token, claims.Principal, claims.Endpoint, now); f.Kind != fault.Mismatch && f.Kind != fault.Malformed {
		t.Errorf("another key of that id: %v", f)
	}
}

func TestWhyASessionDoesNotOpen(t *testing.T) {
	r := ring(1)
	token := sealed(t, r, claims)
	end := claims.Expires
	for _, c := range []struct {
		name, token, principal, endpoint string
		at                               time.Time
		kind                             fault.Kind
		says                             string
	}{
		{"other principal", token, "key:01JE", claims.Endpoint, now, fault.Mismatch, "another caller"},
		{"no principal", token, "", claims.Endpoint, now, fault.Mismatch, "another caller"},
		{"other endpoint", token, claims.Principal, "/other/mcp", now, fault.Mismatch, "another endpoint"},
		{"both other, their seam moved", token, claims.Principal + "/", claims.Endpoint[1:], now, fault.Mismatch, "another caller"},
		{"expired", token, claims.Principal, claims.Endpoint, end, fault.Expired, "expired"},
		{"nothing", "", claims.Principal, claims.Endpoint, now, fault.Malformed, "isn't"},
		{"the upstream's own id", claims.Upstream, claims.Principal, claims.Endpoint, now, fault.Malformed, "isn't"},
		{"blanks", " " + token, claims.Principal, claims.Endpoint, now, fault.Malformed, "isn't"},
		{"padding", token + "==", claims.Principal, claims.Endpoint, now, fault.Malformed, "isn't"},
		{"line break", token[:8] + "\n" + token[8:], claims.Principal, claims.Endpoint, now, fault.Malformed, "isn't"},
		{"too long", strings.Repeat("A", 5000), claims.Principal, claims.Endpoint, now, fault.Malformed, "isn't"},
		{"zeros", strings.Repeat("A", 200), claims.Principal, claims.Endpoint, now, fault.Malformed, "isn't"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if f := refusal(t, r, c.token, c.principal, c.endpoint, c.at); f.Kind != c.kind || !strings.Contains(f.Message, c.says) {
				t.Errorf("%v, want kind %v", f, c.kind)
			}
		})
	}
	if _, err := session.Open(r, token, claims.Principal, claims.Endpoint, end.Add(-time.Second)); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
}

func TestAlteredTokensDoNotOpen(t *testing.T) {
	r := ring(1)
	token := sealed(t, r, claims)
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for _, flip := range []byte{1, 0x80} {
			raw[i] ^= flip
			refusal(t, r, base64.RawURLEncoding.EncodeToString(raw), claims.Principal, claims.Endpoint, now)
			raw[i] ^= flip
		}
	}
	for i := range token {
		for _, c := range []byte("Aa_=") {
			if token[i] != c {
				refusal(t, r, token[:i]+string(c)+token[i+1:], claims.Principal, claims.Endpoint, now)
			}
		}
		refusal(t, r, token[:i], claims.Principal, claims.Endpoint, now)
		refusal(t, r, token[:i]+token[i+1:], claims.Principal, claims.Endpoint, now)
	}
	refusal(t, r, token+"A", claims.Principal, claims.Endpoint, now)
	refusal(t, r, token+"AA", claims.Principal, claims.Endpoint, now)
}

func TestAlterationsAreToldApart(t *testing.T) {
	r := ring(1)
	raw, _ := base64.RawURLEncoding.DecodeString(sealed(t, r, claims))
	for at, want := range map[int]fault.Kind{0: fault.Malformed, 4: fault.NotFound, 20: fault.Malformed, len(raw) - 1: fault.Malformed} {
		b := append([]byte(nil), raw...)
		b[at] ^= 0x55
		if f := refusal(t, r, base64.RawURLEncoding.EncodeToString(b), claims.Principal, claims.Endpoint, now); f.Kind != want {
			t.Errorf("byte %d altered: %v, want %v", at, f.Kind, want)
		}
	}
}

func TestUpstreamIDs(t *testing.T) {
	r := ring(1)
	for _, c := range []struct {
		name, id string
		ok       bool
		kind     fault.Kind
	}{
		{"one byte", "x", true, 0},
		{"all visible ASCII", "!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~", true, 0},
		{"as long as may be", strings.Repeat("x", session.MaxUpstream), true, 0},
		{"longer", strings.Repeat("x", session.MaxUpstream+1), false, fault.TooLarge},
		{"empty", "", false, fault.Malformed},
		{"blank", "a b", false, fault.Malformed},
		{"line break", "a\r\nX-Evil: 1", false, fault.Malformed},
		{"not ASCII", "é", false, fault.Malformed},
		{"DEL", "\x7f", false, fault.Malformed},
	} {
		cl := claims
		cl.Upstream = c.id
		token, err := session.Seal(r, cl)
		if !c.ok {
			f := fault.As(err)
			if f == nil || f.Kind != c.kind || f.Hop != fault.Upstream || f.HTTPStatus() != 502 || f.Server != "everything" || token != "" {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		got, err2 := session.Open(r, token, cl.Principal, cl.Endpoint, now)
		if err != nil || err2 != nil || got != cl {
			t.Errorf("%s: %v %v", c.name, err, err2)
		}
	}
}

func TestWithoutARing(t *testing.T) {
	_, err := session.Seal(nil, claims)
	_, err2 := session.Open(nil, "x", "p", "e", now)
	for _, err := range []error{err, err2} {
		if f := fault.As(err); f == nil || f.Hop != fault.Gateway || f.Kind != fault.Unavailable || f.HTTPStatus() != 503 {
			t.Errorf("got %v", err)
		}
	}
}

func TestShortHash(t *testing.T) {
	if got := session.ShortHash("abc"); got != "ba7816bf8f01" || session.ShortHash("") != "" {
		t.Errorf("got %q", got)
	}
}

// issued was sealed by the first version of this package: a rolling upgrade must not end sessions.
const issued = "AQAAAAEAYn4_l610IpBmUrf18oiqTSwFhQK0hceYoBXO2UY7RDWFNFYstFgCUCX-3ChZBn8FTkqSxpiw8Jz72z0x2sNsi3x7pRQBZCn3J7HfWdSI4ev0mUPneMFIhj78Homv1d_IYAFkGpk-ywchfk8hMgbxbzc0"

func TestEarlierTokensOpen(t *testing.T) {
	if got, err := session.Open(ring(1), issued, claims.Principal, claims.Endpoint, now); err != nil || got != claims {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestTokensWithoutAnInstanceAreThoseOfEarlierReleases(t *testing.T) {
	if token := sealed(t, ring(1), claims); len(token) != len(issued) || token[:16] != issued[:16] {
		t.Errorf("%d bytes, before %d", len(token), len(issued))
	}
	cl := claims
	cl.Instance = 0xdeadbeef
	if got, err := session.Open(ring(1), sealed(t, ring(1), cl), cl.Principal, cl.Endpoint, now); err != nil || got != cl {
		t.Errorf("got %+v, %v", got, err)
	}
}

// FuzzOpen: nothing but what was sealed opens, and every refusal is a lost session.
func FuzzOpen(f *testing.F) {
	const token = issued
	r := ring(1, 2)
	f.Add(token, claims.Principal, claims.Endpoint)
	f.Add(token[:40], claims.Principal, "")
	f.Add(strings.Repeat("A", 120), "", "")
	f.Add("AQAAAAE"+strings.Repeat("x", 100), claims.Principal, claims.Endpoint)
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, s, principal, endpoint string) {
		c, err := session.Open(r, s, principal, endpoint, now)
		if err == nil {
			if s != token || c != claims || principal != claims.Principal || endpoint != claims.Endpoint {
				t.Fatalf("%q opened for %q at %q: %+v", s, principal, endpoint, c)
			}
			return
		}
		if f := fault.As(err); f == nil || f.HTTPStatus() != 404 || f.JSONRPCCode() != -32001 {
			t.Fatalf("not a lost session: %v", err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	r := ring(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := session.Seal(r, claims); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	r := ring(1)
	token := sealed(b, r, claims)
	b.ReportAllocs()
	b.ReportMetric(float64(len(token)), "bytes/token")
	for b.Loop() {
		if _, err := session.Open(r, token, claims.Principal, claims.Endpoint, now); err != nil {
			b.Fatal(err)
		}
	}
}

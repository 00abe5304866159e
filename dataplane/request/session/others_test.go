package session_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

var (
	asked     = session.Asked{Server: "github", Instance: 7, Session: "3f0c1f0a-6f0e-4b7a-9c57-0d4b4a1f7d11", Revision: "2025-06-18", ID: []byte(`"a\"1"`)}
	positions = []session.Position{{Server: "github", ID: "stream-1_42"}, {Server: "jira", ID: ""}, {Server: "x", ID: "é 1"}}
	place     = session.Cursor{Method: "tools/list", Server: "github", Item: "search_code"}
)

// kind is one of the tokens that this package makes.
type kind struct {
	name  string
	value any
	seal  func(r *table.Ring, principal, endpoint string, at time.Time) (string, error)
	open  func(r *table.Ring, token, principal, endpoint string, at time.Time) (any, error)
	life  time.Duration
}

var kinds = []kind{
	{"session", claims, func(r *table.Ring, p, e string, at time.Time) (string, error) {
		c := claims
		c.Principal, c.Endpoint = p, e
		return session.Seal(r, c)
	}, func(r *table.Ring, token, p, e string, at time.Time) (any, error) {
		return opened(session.Open(r, token, p, e, at))
	}, 7 * 24 * time.Hour},
	{"many", many(3, 40), func(r *table.Ring, p, e string, at time.Time) (string, error) {
		m := many(3, 40)
		m.Principal, m.Endpoint = p, e
		token, _, err := session.SealMany(r, m)
		return token, err
	}, func(r *table.Ring, token, p, e string, at time.Time) (any, error) {
		return opened(session.OpenMany(r, token, p, e, at))
	}, time.Hour},
	{"asked", asked, func(r *table.Ring, p, e string, at time.Time) (string, error) {
		return session.SealAsked(r, asked, p, e, at)
	},
		func(r *table.Ring, token, p, e string, at time.Time) (any, error) {
			return opened(session.OpenAsked(r, token, p, e, at))
		}, now.Truncate(24 * time.Hour).Add(48 * time.Hour).Sub(now)},
	{"events", positions, func(r *table.Ring, p, e string, at time.Time) (string, error) {
		return session.SealEvents(r, positions, p, e, at)
	},
		func(r *table.Ring, token, p, e string, at time.Time) (any, error) {
			return opened(session.OpenEvents(r, token, p, e, at))
		}, 24 * time.Hour},
	{"cursor", place, func(r *table.Ring, p, e string, at time.Time) (string, error) {
		return session.SealCursor(r, place, p, e, at)
	},
		func(r *table.Ring, token, p, e string, at time.Time) (any, error) {
			return opened(session.OpenCursor(r, token, p, e, at))
		}, time.Hour},
}

// opened is nil with an error, unless something came with it.
func opened[T any](v T, err error) (any, error) {
	var none T
	if err != nil && reflect.DeepEqual(v, none) {
		return nil, err
	}
	return v, err
}

// made is a token of the one caller at the one endpoint.
func (k kind) made(t testing.TB, r *table.Ring) string {
	t.Helper()
	token, err := k.seal(r, claims.Principal, aggregate, now)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// refused reports whether a fault is the one with which this kind of token is refused from outside.
func (k kind) refused(f *fault.Error) bool {
	if k.name == "cursor" {
		return f != nil && f.Hop == fault.Client && f.Phase == fault.Request && f.Kind == fault.Malformed && f.JSONRPCCode() == -32602 &&
			f.HTTPStatus() == 400 && strings.HasPrefix(f.Message, "bad cursor: ")
	}
	return f != nil && f.Hop == fault.Client && f.Phase == fault.Session && f.JSONRPCCode() == -32001 && f.HTTPStatus() == 404 &&
		strings.HasPrefix(f.Message, "Session not found: ")
}

func TestEveryKindOpensUntilItsEnd(t *testing.T) {
	for _, k := range kinds[2:] {
		token := k.made(t, ring(1))
		if got, err := k.open(ring(2, 1), token, claims.Principal, aggregate, now.Add(k.life-time.Second)); err != nil || !reflect.DeepEqual(got, k.value) {
			t.Errorf("%s: %+v, %v", k.name, got, err)
		}
	}
}

func TestEveryKindIsRefusedForTheRightReason(t *testing.T) {
	for _, k := range kinds {
		token := k.made(t, ring(1))
		for _, c := range []struct {
			name, token, principal, endpoint string
			ring                             *table.Ring
			at                               time.Time
			kind                             fault.Kind
			says                             string
		}{
			{"other principal", token, "key:01JE", aggregate, ring(1), now, fault.Mismatch, "another"},
			{"other endpoint", token, claims.Principal, "/x", ring(1), now, fault.Mismatch, "another"},
			{"key dropped", token, claims.Principal, aggregate, ring(2), now, fault.NotFound, "key"},
			{"its end", token, claims.Principal, aggregate, ring(1), now.Add(k.life), fault.Expired, "expired"},
			{"altered", token[:50] + "AAAA" + token[54:], claims.Principal, aggregate, ring(1), now, fault.Malformed, "issue"},
			{"nothing", "", claims.Principal, aggregate, ring(1), now, fault.Malformed, "issue"},
		} {
			got, err := k.open(c.ring, c.token, c.principal, c.endpoint, c.at)
			f := fault.As(err)
			if !k.refused(f) || got != nil || !strings.Contains(f.Message, c.says) || (k.name != "cursor" && f.Kind != c.kind) {
				t.Errorf("%s, %s: %v, %v", k.name, c.name, got, err)
			}
		}
	}
}

func TestNoKindIsTakenForAnother(t *testing.T) {
	for _, k := range kinds {
		for _, other := range kinds {
			if k.name == other.name {
				continue
			}
			if got, err := other.open(ring(1), k.made(t, ring(1)), claims.Principal, aggregate, now); got != nil || !other.refused(fault.As(err)) {
				t.Errorf("%s opened as %s: %+v, %v", k.name, other.name, got, err)
			}
		}
	}
}

func TestNoKindWorksWithoutARing(t *testing.T) {
	for _, k := range kinds {
		_, err := k.seal(nil, claims.Principal, aggregate, now)
		_, err2 := k.open(nil, "x", claims.Principal, aggregate, now)
		for _, err := range []error{err, err2} {
			if f := fault.As(err); f == nil || f.Hop != fault.Gateway || f.Kind != fault.Unavailable {
				t.Errorf("%s: %v", k.name, err)
			}
		}
	}
}

func TestBoundsOfWhatServersAsk(t *testing.T) {
	long := session.Asked{Server: strings.Repeat("s", 64), Session: strings.Repeat("x", session.MaxUpstream), ID: []byte(strings.Repeat("9", session.MaxAskedID)),
		Revision: "2099-01-01"}
	token, err := session.SealAsked(ring(1), long, "p", "e", now)
	if err != nil || len(token) > 6<<10 {
		t.Fatalf("%d bytes, %v", len(token), err)
	}
	if got, err := session.OpenAsked(ring(1), token, "p", "e", now); err != nil || !reflect.DeepEqual(got, long) {
		t.Errorf("got %+v, %v", got, err)
	}
	long.ID = append(long.ID, '9')
	_, err = session.SealAsked(ring(1), long, "p", "e", now)
	if f := fault.As(err); f == nil || f.Kind != fault.TooLarge || f.Hop != fault.Upstream {
		t.Error(err)
	}
	if _, err := session.SealAsked(ring(1), session.Asked{Server: "s", Session: "a b"}, "p", "e", now); fault.As(err) == nil || fault.As(err).Server != "s" {
		t.Error(err)
	}
}

func TestBoundsOfEventIDs(t *testing.T) {
	places := func(n, size int) []session.Position {
		list := make([]session.Position, n)
		for i := range list {
			list[i] = session.Position{Server: "server", ID: strings.Repeat("x", size)}
		}
		return list
	}
	for _, c := range []struct {
		n, size int
		fits    bool
	}{{0, 0, true}, {32, 80, true}, {33, 1, false}, {32, 100, false}, {1, 2900, true}, {1, 5000, false}, {1, 1 << 20, false}} {
		token, err := session.SealEvents(ring(1), places(c.n, c.size), "p", "e", now)
		f := fault.As(err)
		if (err == nil) != c.fits || len(token) > 4096 || (!c.fits && (f == nil || f.Kind != fault.TooLarge || token != "")) {
			t.Errorf("%d of %d bytes: %d bytes, %v", c.n, c.size, len(token), err)
		}
		if c.fits {
			if got, err := session.OpenEvents(ring(1), token, "p", "e", now); err != nil || !reflect.DeepEqual(got, places(c.n, c.size)) {
				t.Errorf("%d of %d bytes: %d opened, %v", c.n, c.size, len(got), err)
			}
		}
	}
}

func TestBoundsOfCursors(t *testing.T) {
	c := place
	for _, size := range []int{0, 1, 12_000} {
		c.Item = strings.Repeat("x", size)
		token, err := session.SealCursor(ring(1), c, "p", "e", now)
		if got, err2 := session.OpenCursor(ring(1), token, "p", "e", now); err != nil || err2 != nil || got != c || len(token) > 16<<10 {
			t.Errorf("%d bytes: %v %v", size, err, err2)
		}
	}
	for _, size := range []int{12_288, 1 << 20} {
		c.Item = strings.Repeat("x", size)
		if _, err := session.SealCursor(ring(1), c, "p", "e", now); err == nil || fault.As(err).Kind != fault.TooLarge || fault.As(err).Hop != fault.Upstream {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// earlier were sealed by the first versions of this package, for this caller at this endpoint: a rolling upgrade must not end sessions.
var earlier = map[string]string{
	"many": "AQAAAAEAYn4_Kh1b5pZXH4FgBWkguRf1E-JUMZpknkx9iwmr9doy8hCZnlsJx1Dx8TKFm6XaTsiyR1cc94XMglLS-tpFKXw127emQ9_w7SmZ_eQcvacrSb2c7lLZ_2ojdk" +
		"bJrPOUqhCvJ2G53pHYRBYoT9Du3uxvB2oww-l2LJIvS2R8XU9dThGS8tT2VRThUmrhLt63M7DcP8l7ikRQwHTL8UjxCi8y_dJ9oLwMNp81JpDcQCRMe4GqhKrKIb5i56wb" +
		"-fMffxkxePE6rDPEqUOj8iBiabrCkn9Agh4dQUNvFVIwhbMukSbnzFK4XzOWE2Exr5-rIz3rC7o3494m5xuh_a-FR6c9InFSKMBGun2fQauuBn8CfhVwSgru6DZYJodtDh" +
		"Wd0L2P7325gxGF1GIx6M1_QOxw",
	"asked": "AQAAAAEAYn4_Kh1b5pf_OltUjb5fxPsXduOiZ1AtRAC_c0g-mVZd22GYcT8l1jWMCg0KkMetDM-W8USAem8dWGhGf9S2RlHrfnHQGLSoNCibc9OlzUjJyJ3d3OFinICdjS" +
		"qgvkZc8354qCiDWGiElVVBrqrM",
	"events": "AQAAAAEAYn4_Kh1b5siClVTDLe54iULcBHoOlbObrDiSP1rx3uWo6zMLZsAPFk_wuzI-m_PxwfsQXIT9GkXLONWddNvRPQTP5h7-e3Yg921vKWsld2piO_Roacuksg",
	"cursor": "AQAAAAEAYn4_Kh1b5us_p3_oCZ5JJYO1kv8TyVG3tyRsgAwMqhKnUW8VZhYZMpMueV7b5zuT-RmWkN3lcdEOmtSKTB6ecFkvJqeYZCpVzLcPDyvEty5r7Zjz",
}

func TestEarlierTokensOfEveryKindOpen(t *testing.T) {
	for _, k := range kinds[1:] {
		got, err := k.open(ring(1), earlier[k.name], claims.Principal, aggregate, now)
		if err != nil || !reflect.DeepEqual(got, k.value) {
			t.Errorf("%s: %+v, %v", k.name, got, err)
		}
	}
}

// fuzzOpen: nothing but the one token opens, only for whom and where it was sealed; every refusal is the right one.
func fuzzOpen(f *testing.F, k kind) {
	r, good := ring(1, 2), earlier[k.name] // what is random must be the same in all workers
	for _, token := range earlier {
		f.Add(token, claims.Principal, aggregate)
	}
	f.Add(issued, claims.Principal, claims.Endpoint)
	f.Add(good[:60], claims.Principal, "")
	f.Add("AQAAAAE"+strings.Repeat("x", 100), claims.Principal, aggregate)
	f.Fuzz(func(t *testing.T, token, principal, endpoint string) {
		got, err := k.open(r, token, principal, endpoint, now)
		if token == good && principal == claims.Principal && endpoint == aggregate {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		if got != nil || !k.refused(fault.As(err)) {
			t.Fatalf("%q for %q at %q: %+v, %v", token, principal, endpoint, got, err)
		}
	})
}

func FuzzOpenMany(f *testing.F)   { fuzzOpen(f, kinds[1]) }
func FuzzOpenAsked(f *testing.F)  { fuzzOpen(f, kinds[2]) }
func FuzzOpenEvents(f *testing.F) { fuzzOpen(f, kinds[3]) }
func FuzzOpenCursor(f *testing.F) { fuzzOpen(f, kinds[4]) }

// purposes are those of kinds.
var purposes = []seal.Purpose{seal.Session, seal.Session, seal.Request, seal.Event, seal.Cursor}

func TestPayloadsThatAreCutOrLongerAreRefused(t *testing.T) {
	for i, k := range kinds {
		good, err := seal.Open(ring(1), purposes[i], k.made(t, ring(1)), claims.Principal, aggregate, now)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(good) + 2 {
			payload := append(good[:min(n, len(good)):len(good)], make([]byte, max(n-len(good), 0))...)
			tok := seal.Token{Purpose: purposes[i], Principal: "p", Endpoint: "e", Expires: now.Add(time.Second), Payload: payload}
			token, err := seal.Seal(ring(1), tok)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := k.open(ring(1), token, "p", "e", now); (err == nil) != (n == len(good)) || (err != nil && (got != nil || !k.refused(fault.As(err)))) {
				t.Errorf("%s: %d of %d bytes: %+v, %v", k.name, n, len(good), got, err)
			}
		}
	}
}

// FuzzPayload: whatever is sealed, each kind of token reads it or refuses it as it should.
func FuzzPayload(f *testing.F) {
	f.Add([]byte("\x0a2025-11-25\x01a\x01b"), uint8(0))
	f.Add([]byte("\xff\x7f\x01\x04\x00\x00\x01\x01a\x00\x00\x00\x07\x04\x01b"), uint8(1))
	f.Add([]byte("\xff\x7f\x01\x04\x00\x00\x21"), uint8(1))
	f.Add([]byte("\x01a\x00\x00\x00\x07\xff\x02no\x01b\x011"), uint8(2))
	f.Add([]byte("\x02\x01a\x01b\x00\x80"), uint8(3))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), uint8(4))
	f.Fuzz(func(t *testing.T, payload []byte, which uint8) {
		k, p := kinds[int(which)%len(kinds)], purposes[int(which)%len(kinds)]
		token, err := seal.Seal(ring(1), seal.Token{Purpose: p, Principal: "p", Endpoint: "e", Expires: now.Add(time.Second), Payload: payload})
		if err != nil {
			return
		}
		got, err := k.open(ring(1), token, "p", "e", now)
		if err != nil && (got != nil || !k.refused(fault.As(err))) {
			t.Fatalf("%s %q: %+v, %v", k.name, payload, got, err)
		}
	})
}

func (k kind) benchmark(b *testing.B) {
	r := ring(1)
	token := k.made(b, r)
	b.Run("Seal", func(b *testing.B) {
		b.ReportAllocs()
		b.ReportMetric(float64(len(token)), "bytes/token")
		for b.Loop() {
			if _, err := k.seal(r, claims.Principal, aggregate, now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := k.open(r, token, claims.Principal, aggregate, now); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAsked(b *testing.B)  { kinds[2].benchmark(b) }
func BenchmarkEvents(b *testing.B) { kinds[3].benchmark(b) }
func BenchmarkCursor(b *testing.B) { kinds[4].benchmark(b) }

// A server takes its request back by the id that the caller saw.
func TestAskedIDsAreTheSameForADay(t *testing.T) {
	seal := func(a session.Asked, principal string, at time.Time) string {
		t.Helper()
		id, err := session.SealAsked(ring(1), a, principal, aggregate, at)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first, other := seal(asked, "key:1", now), asked
	other.ID = []byte("2")
	if seal(asked, "key:1", now.Add(time.Second)) != first {
		t.Error("another id a second later")
	}
	if seal(other, "key:1", now) == first || seal(asked, "key:2", now) == first {
		t.Error("one id for two requests")
	}
}

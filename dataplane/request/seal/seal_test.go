package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/seal"
	"github.com/hopgate/hopgate/dataplane/table"
)

var (
	now      = time.Unix(1_790_000_000, 0)
	purposes = []seal.Purpose{seal.Session, seal.Request, seal.Event, seal.Cursor, seal.Peer, seal.Note, seal.Challenge, seal.Proof}
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

func token(p seal.Purpose) seal.Token {
	return seal.Token{Purpose: p, Principal: "key:01JD", Endpoint: "/mcp", Issued: now, Expires: now.Add(time.Hour), Payload: []byte("what is kept")}
}

func sealed(t testing.TB, r *table.Ring, tok seal.Token) string {
	t.Helper()
	s, err := seal.Seal(r, tok)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealedTokensOpen(t *testing.T) {
	r := ring(1)
	for _, p := range purposes {
		tok := token(p)
		s := sealed(t, r, tok)
		for i := range len(s) {
			if s[i] < 0x21 || s[i] > 0x7e || s[i] == '"' || s[i] == '\\' {
				t.Fatalf("byte %#x", s[i])
			}
		}
		got, err := seal.OpenToken(r, p, s, tok.Principal, tok.Endpoint, now)
		if err != nil || string(got.Payload) != string(tok.Payload) || !got.Issued.Equal(now) || !got.Expires.Equal(tok.Expires) || got.Purpose != p {
			t.Errorf("%s: %+v, %v", p, got, err)
		}
		if payload, err := seal.Open(r, p, s, tok.Principal, tok.Endpoint, tok.Expires.Add(-time.Second)); err != nil || !bytes.Equal(payload, tok.Payload) {
			t.Errorf("%s a second before its end: %q, %v", p, payload, err)
		}
		if s == sealed(t, r, tok) {
			t.Errorf("%s repeats itself", p)
		}
	}
}

func TestATokenServesOnePurpose(t *testing.T) {
	r := ring(1)
	for _, p := range purposes {
		tok := token(p)
		s := sealed(t, r, tok)
		for _, q := range append(purposes, "", "hopgate", p+" ") {
			if p == q {
				continue
			}
			if got, err := seal.Open(r, q, s, tok.Principal, tok.Endpoint, now); !errors.Is(err, seal.ErrMalformed) || got != nil {
				t.Errorf("%s opened as %q: %q, %v", p, q, got, err)
			}
		}
	}
}

func TestPurposesAreToldApartByTheirBeginning(t *testing.T) {
	for _, p := range purposes {
		for _, q := range purposes {
			if p != q && strings.HasPrefix(string(p), string(q)) {
				t.Errorf("%q begins with %q", p, q)
			}
		}
	}
}

func TestWhyATokenDoesNotOpen(t *testing.T) {
	r, tok := ring(1), token(seal.Event)
	s := sealed(t, r, tok)
	forged := ring(1)
	forged.Open[0].Secret[0]++
	for _, c := range []struct {
		name                       string
		ring                       *table.Ring
		token, principal, endpoint string
		at                         time.Time
		want                       error
	}{
		{"no ring", nil, s, tok.Principal, tok.Endpoint, now, seal.ErrNoRing},
		{"key dropped", ring(2), s, tok.Principal, tok.Endpoint, now, seal.ErrUnknownKey},
		{"another key of that id", forged, s, tok.Principal, tok.Endpoint, now, seal.ErrOtherPrincipal},
		{"other principal", r, s, "key:01JE", tok.Endpoint, now, seal.ErrOtherPrincipal},
		{"other endpoint", r, s, tok.Principal, "/mcp/", now, seal.ErrOtherEndpoint},
		{"seam moved", r, s, tok.Principal + "/", tok.Endpoint[1:], now, seal.ErrOtherPrincipal},
		{"its end", r, s, tok.Principal, tok.Endpoint, tok.Expires, seal.ErrExpired},
		{"nothing", r, "", tok.Principal, tok.Endpoint, now, seal.ErrMalformed},
		{"cut", r, s[:len(s)-1], tok.Principal, tok.Endpoint, now, seal.ErrMalformed},
		{"line break", r, s[:9] + "\n" + s[9:], tok.Principal, tok.Endpoint, now, seal.ErrMalformed},
		{"padding", r, s + "=", tok.Principal, tok.Endpoint, now, seal.ErrMalformed},
		{"too long", r, strings.Repeat("A", seal.Event.Limit()+1), tok.Principal, tok.Endpoint, now, seal.ErrMalformed},
		{"zeros", r, strings.Repeat("A", 200), tok.Principal, tok.Endpoint, now, seal.ErrMalformed},
	} {
		if got, err := seal.Open(c.ring, seal.Event, c.token, c.principal, c.endpoint, c.at); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestAlteredTokensDoNotOpen(t *testing.T) {
	r, tok := ring(1), token(seal.Request)
	raw, err := base64.RawURLEncoding.DecodeString(sealed(t, r, tok))
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			if got, err := seal.Open(r, seal.Request, base64.RawURLEncoding.EncodeToString(raw), tok.Principal, tok.Endpoint, now); err == nil {
				t.Fatalf("bit %d of byte %d altered: %q", bit, i, got)
			}
			raw[i] ^= 1 << bit
		}
	}
}

func TestRotatedKeysOpen(t *testing.T) {
	tok := token(seal.Cursor)
	s := sealed(t, ring(1), tok)
	for name, r := range map[string]*table.Ring{"rotated": ring(2, 1), "sealing only": {Sealing: key(1)}} {
		if _, err := seal.Open(r, seal.Cursor, s, tok.Principal, tok.Endpoint, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What Room says fits whatever the times are, and one token more than its purpose's limit is never made.
func TestRoom(t *testing.T) {
	r := ring(1)
	for _, p := range purposes {
		tok := token(p)
		tok.Issued, tok.Expires = time.Unix(1<<35-1, 0), time.Unix(1<<36-2, 0)
		tok.Payload = make([]byte, p.Room())
		if s := sealed(t, r, tok); len(s) > p.Limit() || len(s) < p.Limit()-2 {
			t.Errorf("%s: %d of %d bytes", p, len(s), p.Limit())
		} else if _, err := seal.Open(r, p, s, tok.Principal, tok.Endpoint, tok.Issued); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		tok.Payload = make([]byte, p.Room()+1)
		if s, err := seal.Seal(r, tok); !errors.Is(err, seal.ErrTooLarge) || s != "" {
			t.Errorf("%s: %d bytes, %v", p, len(s), err)
		}
	}
}

func TestWhatCannotBeSealed(t *testing.T) {
	if _, err := seal.Seal(nil, token(seal.Peer)); !errors.Is(err, seal.ErrNoRing) {
		t.Error(err)
	}
	for _, p := range []seal.Purpose{"", "hopgate session 2"} {
		if s, err := seal.Seal(ring(1), token(p)); err == nil || s != "" || p.Room() != 0 {
			t.Errorf("%q is a purpose: %v", p, err)
		}
	}
}

func TestTimesOutOfRange(t *testing.T) {
	r, tok := ring(1), token(seal.Peer)
	tok.Issued, tok.Expires = time.Time{}, now
	if got, err := seal.OpenToken(r, seal.Peer, sealed(t, r, tok), tok.Principal, tok.Endpoint, now.Add(-time.Second)); err != nil || !got.Expires.Equal(now) {
		t.Errorf("without a beginning: %+v, %v", got, err)
	}
	tok.Issued, tok.Expires = now, now.Add(-time.Hour)
	if _, err := seal.Open(r, seal.Peer, sealed(t, r, tok), tok.Principal, tok.Endpoint, now); !errors.Is(err, seal.ErrExpired) {
		t.Errorf("over before it began: %v", err)
	}
}

// issued is the token for another data plane as the first version of this package sealed it.
const issued = "AQAAAAEAYn4_Kh1b5qetp648uoZ5RwnpalHB3X5OvbUT87G1m-5XzScbs3Xv3liYlBWjYVz-2w6W3ydBIL3N_J1GreQ5Xems"

func TestEarlierTokensOpen(t *testing.T) {
	tok := token(seal.Peer)
	if got, err := seal.Open(ring(1), seal.Peer, issued, tok.Principal, tok.Endpoint, now); err != nil || !bytes.Equal(got, tok.Payload) {
		t.Errorf("%q, %v", got, err)
	}
}

// FuzzOpen: nothing but what was sealed opens, and only as what it was sealed for.
func FuzzOpen(f *testing.F) {
	r := ring(1, 2)
	tok := token(seal.Peer)
	const s = issued // what is random must be the same in all workers
	f.Add(s, string(tok.Purpose), tok.Principal, tok.Endpoint)
	f.Add(s, string(seal.Session), tok.Principal, tok.Endpoint)
	f.Add(s[:60], string(tok.Purpose), "", "")
	f.Add("AQAAAAE"+strings.Repeat("x", 100), string(tok.Purpose), tok.Principal, tok.Endpoint)
	f.Fuzz(func(t *testing.T, token, purpose, principal, endpoint string) {
		got, err := seal.Open(r, seal.Purpose(purpose), token, principal, endpoint, now)
		same := token == s && purpose == string(tok.Purpose) && principal == tok.Principal && endpoint == tok.Endpoint
		switch {
		case same != (err == nil), err == nil && !bytes.Equal(got, tok.Payload), err != nil && got != nil:
			t.Fatalf("%q as %q for %q at %q: %q, %v", token, purpose, principal, endpoint, got, err)
		case err == nil:
			return
		}
		for _, known := range []error{seal.ErrMalformed, seal.ErrUnknownKey, seal.ErrOtherPrincipal, seal.ErrOtherEndpoint} {
			if errors.Is(err, known) {
				return
			}
		}
		t.Fatalf("unknown error %v", err)
	})
}

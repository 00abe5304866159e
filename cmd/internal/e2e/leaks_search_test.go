//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// canary is a secret that was planted and must not be found again.
type canary struct {
	what  string
	value string
	may   func(h *haystack) bool // where it belongs all the same; nil: nowhere
}

// haystack is something that people, programs or disks got from the gateway.
type haystack struct {
	place string // the kind of thing: answer, admin, cli, log …
	name  string // which one
	data  []byte
}

// ledger knows what was planted and what was seen. Its methods may be used by goroutines at the same time.
type ledger struct {
	mu       sync.Mutex
	canaries []canary
	hay      []*haystack
	own      map[string]bool // messages that upstreams sent as valid JSON-RPC: passed on as they are
}

func newLedger() *ledger { return &ledger{own: map[string]bool{}} }

// letters are 62, so that a canary of 28 has 166 bits; odd is what URLs, JSON, HTML and base64 spell in different ways.
const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	odd     = "+/=&<%"
)

func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}

// known makes a canary of a value that somebody else chose.
func (l *ledger) known(what, value string, may func(h *haystack) bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.canaries = append(l.canaries, canary{what, value, may})
	return value
}

// word plants letters and digits, for places that take nothing else.
func (l *ledger) word(what string) string { return l.known(what, randomText(28), nil) }

// secret plants a value whose spelling differs with the encoding.
func (l *ledger) secret(what string) string {
	return l.known(what, randomText(20)+odd+randomText(12), nil)
}

// token plants a JWT or what looks like one: whole and in its parts.
func (l *ledger) token(what, jwt string) string {
	for i, part := range strings.Split(jwt, ".") {
		if len(part) >= 16 {
			l.known(fmt.Sprintf("%s, part %d", what, i+1), part, nil)
		}
	}
	return l.known(what, jwt, nil)
}

// see takes something in for the search.
func (l *ledger) see(place, name string, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hay = append(l.hay, &haystack{place, name, bytes.Clone(data)})
}

// sent notes a message that an upstream itself wrote as valid JSON-RPC.
func (l *ledger) sent(message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.own[message] = true
}

// withoutOwn cuts out of an answer what an upstream itself wrote as valid JSON-RPC: the gateway passes it byte for byte, whatever it says.
func (l *ledger) withoutOwn(answer []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	for message := range l.own {
		answer = bytes.ReplaceAll(answer, []byte(message), []byte("(the upstream's own message)"))
	}
	return answer
}

// spelling is one way in which a value may show.
type spelling struct{ how, text string }

// spellings are all of them, the plainest first.
func spellings(value string) (out []spelling) {
	add := func(how string, texts ...string) {
		for _, text := range texts {
			out = append(out, spelling{how, text})
		}
	}
	v := []byte(value)
	add("as it is", value)
	add("hex", hex.EncodeToString(v), strings.ToUpper(hex.EncodeToString(v)))
	for offset := range 3 { // the middle of base64, wherever the value stands in what is encoded
		from, to := (offset*8+5)/6, (offset+len(v))*8/6
		padded := append(make([]byte, offset), v...)
		add("base64", base64.RawStdEncoding.EncodeToString(padded)[from:to], base64.RawURLEncoding.EncodeToString(padded)[from:to])
	}
	upper, lower := "", ""
	for _, c := range v {
		upper, lower = upper+fmt.Sprintf("%%%02X", c), lower+fmt.Sprintf("%%%02x", c)
	}
	add("URL-encoded", url.QueryEscape(value), url.PathEscape(value), upper, lower)
	var plain bytes.Buffer
	e := json.NewEncoder(&plain)
	e.SetEscapeHTML(false)
	_ = e.Encode(value) // to a buffer
	j, _ := json.Marshal(value)
	add("quoted", strings.Trim(string(j), `"`), strings.Trim(strings.TrimSpace(plain.String()), `"`), strings.Trim(strconv.Quote(value), `"`), html.EscapeString(value))
	for i := 0; i+piece <= len(value); i++ {
		add("a piece", value[i:i+piece])
	}
	return out
}

// piece is how many bytes in a row of a secret are a leak; masks leave four.
const piece = 12

// needle is one spelling of one canary.
type needle struct {
	text     []byte
	canary   *canary
	spelling string
}

// sieve finds many needles in one pass, by their first eight bytes.
type sieve struct {
	maybe [1 << 20]bool
	heads map[uint64][]*needle
}

func newSieve(canaries []canary) *sieve {
	s := &sieve{heads: map[uint64][]*needle{}}
	for i := range canaries {
		seen := map[string]bool{}
		for _, w := range spellings(canaries[i].value) {
			if seen[w.text] {
				continue
			}
			seen[w.text] = true
			head := binary.LittleEndian.Uint64([]byte(w.text))
			s.maybe[slot(head)] = true
			s.heads[head] = append(s.heads[head], &needle{[]byte(w.text), &canaries[i], w.how})
		}
	}
	return s
}

func slot(head uint64) uint64 { return head * 0x9E3779B97F4A7C15 >> 44 }

// find tells each needle in data with its place.
func (s *sieve) find(data []byte, hit func(n *needle, at int)) {
	for i := 0; i+8 <= len(data); i++ {
		head := binary.LittleEndian.Uint64(data[i:])
		if !s.maybe[slot(head)] {
			continue
		}
		for _, n := range s.heads[head] {
			if bytes.HasPrefix(data[i:], n.text) {
				hit(n, i)
			}
		}
	}
}

// finding is one canary in one haystack.
type finding struct {
	canary   *canary
	hay      *haystack
	spelling string
	at       int
}

func (f finding) String() string {
	from, to := max(0, f.at-100), min(len(f.hay.data), f.at+140)
	return fmt.Sprintf("%q (%s) is in %s %s: …%q…", f.canary.what, f.spelling, f.hay.place, f.hay.name, f.hay.data[from:to])
}

// search looks for every canary in every haystack. Of several hits of one in the other the first that isn't just a piece is told.
func (l *ledger) search() (leaks []finding, belong map[*canary]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, belong := newSieve(l.canaries), map[*canary]int{}
	for _, h := range l.hay {
		found := map[*canary]finding{}
		s.find(h.data, func(n *needle, at int) {
			if old, ok := found[n.canary]; !ok || old.spelling == "a piece" {
				found[n.canary] = finding{n.canary, h, n.spelling, at}
			}
		})
		for c, f := range found {
			if c.may != nil && c.may(h) {
				belong[c]++
				continue
			}
			leaks = append(leaks, f)
		}
	}
	return leaks, belong
}

// The search must be able to fail: every spelling is found, wherever it stands, and nothing is found where nothing is.
func TestLeakSearchFindsEverySpelling(t *testing.T) {
	l := newLedger()
	value := l.secret("the secret")
	encode := map[string]func(s string) string{
		"as it is": func(s string) string { return s },
		"std":      func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"url":      func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
		"hex":      func(s string) string { return hex.EncodeToString([]byte(s)) },
		"HEX":      func(s string) string { return fmt.Sprintf("%X", s) },
		"query":    url.QueryEscape,
		"path":     url.PathEscape,
		"quoted":   strconv.Quote,
		"html":     html.EscapeString,
		"json":     func(s string) string { b, _ := json.Marshal(s); return string(b) },
		"cut":      func(s string) string { return s[:len(s)-len(value)/2] },
	}
	for name, f := range encode {
		for _, before := range []string{"", "a", "ab", "abc"} {
			l.hay = []*haystack{{"made up", name, []byte("…" + f(before+value) + "…")}}
			if leaks, _ := l.search(); len(leaks) != 1 {
				t.Errorf("%s after %q: %d findings", name, before, len(leaks))
			}
		}
	}
	l.hay = []*haystack{{"made up", "clean", []byte(randomText(1 << 20))}, {"made up", "masked", []byte("Bearer****" + value[len(value)-4:])}}
	if leaks, _ := l.search(); len(leaks) > 0 {
		t.Errorf("found in nothing: %v", leaks)
	}
}

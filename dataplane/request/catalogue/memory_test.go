package catalogue_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/proto/confset"
)

// Red when the time counts from the walk's end, when ListTTL counts in the modern era, or ttlMs in the legacy one.
func TestAListLivesForItsTime(t *testing.T) {
	legacy, modern := keyOf(server()), modernKey(server(), "")
	for _, tt := range []struct {
		name   string
		key    catalogue.Key
		config time.Duration
		told   string
		want   time.Duration
	}{
		{"legacy, as configured", legacy, 30 * time.Second, "", 30 * time.Second},
		{"legacy, never", legacy, 0, "", 0},
		{"legacy doesn't know ttlMs", legacy, 30 * time.Second, `"ttlMs":90000,`, 30 * time.Second},
		{"modern, as told", modern, 30 * time.Second, `"ttlMs":90000,`, 90 * time.Second},
		{"modern, told never", modern, 30 * time.Second, `"ttlMs":0,`, 0},
		{"modern, told nothing", modern, 30 * time.Second, "", 30 * time.Second},
		{"modern, told a year", modern, 30 * time.Second, `"ttlMs":31536000000,`, 24 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
				s, src := server(), slow(page(tt.told, "a"))
				s.ListTTL = tt.config
				began := time.Now()
				l := list(t, c, tt.key, s, src)
				if l.TTL != tt.want || !l.Fetched.Equal(began) {
					t.Errorf("ttl %v, fetched %v after the beginning", l.TTL, l.Fetched.Sub(began))
				}
				for time.Since(began) < min(tt.want, 9*time.Minute)-time.Second {
					if list(t, c, tt.key, s, src) != l {
						t.Fatalf("walked again after %v", time.Since(began))
					}
					pass(500 * time.Millisecond)
				}
				pass(time.Until(began.Add(tt.want)))
				if _, ok := c.Peek(tt.key); ok {
					t.Error("still in memory")
				}
			})
		})
	}
}

// Red when Changed touches other kinds or servers, or misses a view.
func TestAChangeDropsThatKindOfThatServerForEachView(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, other := server(), server()
		other.Name, other.Hash = "other", confset.HashBody([]byte("other"))
		changed := []catalogue.Key{keyOf(s), modernKey(s, ""), modernKey(s, "key:1"), {Server: s.Hash, Capabilities: 7}}
		stay := []catalogue.Key{keyOf(other), {Server: s.Hash, Kind: catalogue.Prompts}}
		for _, k := range append(changed, stay...) {
			list(t, c, k, s, always(page("")))
		}
		c.Changed(s.Hash, catalogue.Tools)
		for _, k := range changed {
			if _, ok := c.Peek(k); ok {
				t.Errorf("%v is still there", k)
			}
		}
		for _, k := range stay {
			if _, ok := c.Peek(k); !ok {
				t.Errorf("%v is gone", k)
			}
		}
		c.Changed(s.Hash, catalogue.Any)
		if _, ok := c.Peek(stay[1]); ok {
			t.Error("Any didn't drop the prompts")
		}
		c.Changed(confset.HashBody([]byte("unknown")), catalogue.Tools)
		c.Changed(s.Hash, catalogue.Kind(200))
	})
}

// Red when land keeps what isn't fresh.
func TestAListThatChangesWhileItIsFetchedIsntKept(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, src := server(), slow(page("", "a"))
		time.AfterFunc(time.Second/2, func() { c.Changed(s.Hash, catalogue.Tools) })
		list(t, c, keyOf(s), s, src)
		if _, ok := c.Peek(keyOf(s)); ok || catalogue.Kept(c) != 0 {
			t.Error("it was kept")
		}
	})
}

// Red when sweep doesn't look at the use, or a look-up doesn't count as one.
func TestWhatNobodyAsksForIsDroppedAfterTenMinutes(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s := server()
		s.ListTTL = time.Hour
		gone, used := keyOf(s), modernKey(s, "key:1")
		for _, k := range []catalogue.Key{gone, used} {
			list(t, c, k, s, always(page("", "a")))
		}
		for range 12 {
			pass(time.Minute)
			if _, ok := c.Peek(used); !ok {
				t.Fatal("what is used was dropped")
			}
		}
		if _, ok := c.Peek(gone); ok {
			t.Error("what isn't used is still there")
		}
		if got := catalogue.Kept(c); got != 1 {
			t.Errorf("%d lists in memory", got)
		}
	})
}

// Red when victims aren't sorted by use.
func TestTheListThatWasntUsedForLongestMakesRoom(t *testing.T) {
	bubble(t, catalogue.Config{MaxBytes: 100_000}, func(t *testing.T, c *catalogue.Catalogue) {
		s := server()
		s.ListTTL = time.Hour
		answer := page("", strings.Repeat("n", 4000)) // about 9 KB with its name
		key := func(i int) catalogue.Key { return catalogue.Key{Server: s.Hash, Scope: fmt.Sprint(i)} }
		for i := range 10 {
			list(t, c, key(i), s, always(answer))
			pass(2 * time.Second)
			c.Peek(key(0))
		}
		for i := range 10 {
			list(t, c, key(100+i), s, always(answer))
			pass(2 * time.Second)
			c.Peek(key(0))
			if b := catalogue.Bytes(c); b > 100_000 {
				t.Fatalf("%d bytes", b)
			}
		}
		for k, want := range map[int]bool{0: true, 1: false, 2: false, 9: false, 109: true, 105: true} {
			if _, ok := c.Peek(key(k)); ok != want {
				t.Errorf("list %d is there: %v", k, ok)
			}
		}
		list(t, c, key(0), s, always(page("", numbered(2000)...))) // in memory
		list(t, c, key(500), s, always(page("", numbered(2000)...)))
		if _, ok := c.Peek(key(500)); ok {
			t.Error("a list larger than all the room is in memory")
		}
		if _, ok := c.Peek(key(0)); !ok {
			t.Error("it pushed another one out")
		}
	})
}

// Red when a look-up sees a map while it is changed (run with -race), or when the books don't balance.
func TestManyLookUpsAndChangesAtOnce(t *testing.T) {
	bubble(t, catalogue.Config{MaxBytes: 300_000}, func(t *testing.T, c *catalogue.Catalogue) {
		s, src := server(), always(page("", numbered(20)...))
		var all sync.WaitGroup
		for g := range 8 {
			all.Go(func() {
				for i := range 400 {
					key := catalogue.Key{Server: s.Hash, Scope: fmt.Sprint((i * (g + 1)) % 150)}
					if l, err := c.List(t.Context(), key, s, src); err != nil || len(l.Items) != 20 {
						t.Errorf("%v", err)
					}
					if i%50 == g {
						c.Changed(s.Hash, catalogue.Tools)
					}
				}
			})
		}
		all.Wait()
		if b := catalogue.Bytes(c); b <= 0 || b > 300_000 {
			t.Errorf("%d bytes", b)
		}
		pass(time.Hour)
		if b, n := catalogue.Bytes(c), catalogue.Servers(c); b != 0 || n != 0 {
			t.Errorf("%d bytes of %d servers are left", b, n)
		}
	})
}

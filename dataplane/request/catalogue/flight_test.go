package catalogue_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
)

// slow answers after a second.
func slow(answer []byte) *source {
	return &source{page: func(ctx context.Context, _ catalogue.Kind, _ string) ([]byte, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
			return answer, nil
		}
	}}
}

// Red when join begins a walk for each.
func TestOneWalkServesAllWhoAskAtOnce(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Minute} {
		bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
			s, src := server(), slow(page("", "a"))
			s.ListTTL = ttl
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if l, err := c.List(t.Context(), keyOf(s), s, src); err != nil || names(l) != "a" {
						t.Errorf("%v, %v", l, err)
					}
				})
			}
			all.Wait()
			wantAsked(t, src, 1)
		})
	}
}

// Red when the walk has the context of the caller who began it.
func TestAWalkGoesOnWhenTheCallerWhoBeganItLeaves(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, src := server(), slow(page("", "a"))
		ctx, leave := context.WithCancel(t.Context())
		first := make(chan error)
		go func() { _, err := c.List(ctx, keyOf(s), s, src); first <- err }()
		synctest.Wait()
		second := make(chan error)
		go func() { _, err := c.List(t.Context(), keyOf(s), s, src); second <- err }()
		synctest.Wait()
		leave()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("who stayed got %v", err)
		}
		wantAsked(t, src, 1)
		if _, ok := c.Peek(keyOf(s)); !ok {
			t.Error("it wasn't kept")
		}
	})
}

// Red without the deadline in fly.
func TestAnAnswerThatDripsPastTheDeadlineIsATimeout(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, turn := server(), 0
		src := slow(nil)
		drip := src.page
		src.page = func(ctx context.Context, kind catalogue.Kind, cursor string) ([]byte, error) {
			turn++
			_, err := drip(ctx, kind, cursor)
			return page(`"nextCursor":"c` + strconv.Itoa(turn) + `",`), err
		}
		began := time.Now()
		_, err := c.List(t.Context(), keyOf(s), s, src)
		wantFault(t, err, fault.Upstream, fault.Headers, fault.TimedOut, "github", "tools/list") // of its next page
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestAServerWithoutADeadlineHasOneOfAMinute(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, began := server(), time.Now()
		s.Timeouts.List = 0
		src := &source{page: func(ctx context.Context, _ catalogue.Kind, _ string) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		_, err := c.List(t.Context(), keyOf(s), s, src)
		wantFault(t, err, fault.Upstream, fault.Headers, fault.TimedOut)
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

// Red when broken makes an own fault of it.
func TestAFailureIsToldUnchangedAndNotKept(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s := server()
		for _, want := range []error{&fault.Error{Hop: fault.Upstream, Phase: fault.Connect, Kind: fault.Refused, Server: "github"}, errors.New("plain")} {
			failing := &source{page: func(context.Context, catalogue.Kind, string) ([]byte, error) { return nil, want }}
			if _, err := c.List(t.Context(), keyOf(s), s, failing); !errors.Is(err, want) {
				t.Errorf("error %v, want %v", err, want)
			}
		}
		list(t, c, keyOf(s), s, always(page("", "a")))
	})
}

// Red when fly doesn't recover.
func TestAPanickingSourceIsADefectOfThisRequestOnly(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s := server()
		src := &source{page: func(context.Context, catalogue.Kind, string) ([]byte, error) { panic("at the disco") }}
		_, err := c.List(t.Context(), keyOf(s), s, src)
		wantFault(t, err, fault.Gateway, fault.Request, fault.Internal)
		list(t, c, keyOf(s), s, always(page("", "a")))
	})
}

// Red when Close doesn't wait, or the walk doesn't hang on the catalogue.
func TestCloseEndsWalksAndRefusesNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := catalogue.New(catalogue.Config{}), server()
		over := false
		src := &source{page: func(ctx context.Context, _ catalogue.Kind, _ string) ([]byte, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			over = true
			return nil, ctx.Err()
		}}
		failed := make(chan error, 1)
		go func() { _, err := c.List(context.Background(), keyOf(s), s, src); failed <- err }()
		synctest.Wait()
		c.Close()
		if !over {
			t.Error("Close didn't wait")
		}
		wantFault(t, <-failed, fault.Gateway, fault.Route, fault.Unavailable)
		_, err := c.List(t.Context(), keyOf(s), s, src)
		wantFault(t, err, fault.Gateway, fault.Route, fault.Unavailable)
		c.Close()
	})
}

// Red when List hands what it joined to whoever waited.
func TestAPrivateListWithoutAScopeGoesToOneCallerOnly(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, src := server(), slow(page(`"ttlMs":60000,"cacheScope":"private",`, "a"))
		var mu sync.Mutex
		seen := map[*catalogue.List]int{}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				l, err := c.List(t.Context(), modernKey(s, ""), s, src)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				seen[l]++
			})
		}
		all.Wait()
		if len(seen) != 10 {
			t.Errorf("%d lists for 10 callers", len(seen))
		}
		if _, ok := c.Peek(modernKey(s, "")); ok {
			t.Error("it was kept for all")
		}
		mine := list(t, c, modernKey(s, "key:1"), s, src)
		if l, ok := c.Peek(modernKey(s, "key:1")); !ok || l != mine {
			t.Error("it wasn't kept for the one")
		}
		if _, ok := c.Peek(modernKey(s, "key:2")); ok {
			t.Error("it is served to another one")
		}
	})
}

// Red when join takes a walk whose stamp isn't fresh.
func TestWhoAsksAfterAChangeDoesntGetAnOlderWalk(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s := server()
		before := make(chan error)
		go func() {
			l, err := c.List(t.Context(), keyOf(s), s, slow(page("", "old")))
			if err == nil && names(l) != "old" {
				err = errors.New(names(l))
			}
			before <- err
		}()
		synctest.Wait()
		c.Changed(s.Hash, catalogue.Tools)
		if l := list(t, c, keyOf(s), s, slow(page("", "new"))); names(l) != "new" {
			t.Errorf("got %q", names(l))
		}
		if err := <-before; err != nil {
			t.Error(err)
		}
		if l, ok := c.Peek(keyOf(s)); !ok || names(l) != "new" {
			t.Error("the new list isn't the one in memory")
		}
	})
}

// Red without mostWalks and mostWalksOf, or when over doesn't take them back.
func TestWalksUnderWayAreBoundedForEachServerAndInAll(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, src := server(), slow(page("", "a"))
		var all sync.WaitGroup
		key := func(server, caller int) catalogue.Key {
			return catalogue.Key{Server: confset.HashBody(fmt.Append(nil, server)), Capabilities: uint64(caller)}
		}
		refused := func(k catalogue.Key, words ...string) {
			t.Helper()
			_, err := c.List(t.Context(), k, s, src)
			wantFault(t, err, fault.Gateway, fault.Limit, fault.Exhausted, words...)
		}
		for i := range 1000 {
			all.Go(func() {
				if _, err := c.List(t.Context(), key(i/100, i), s, src); err != nil {
					t.Error(err)
				}
			})
			if i == 99 {
				synctest.Wait()
				refused(key(0, 1000), "the server github")
			}
		}
		synctest.Wait()
		refused(key(10, 0))
		all.Wait()
		list(t, c, key(0, 1000), s, src)
		list(t, c, key(10, 0), s, src)
	})
}

// Red without room.
func TestTheBytesOfWalksUnderWayAreBounded(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, big := server(), page(`"nextCursor":"p2","filler":"`+strings.Repeat("x", 20_000)+`",`)
		catalogue.SetRoom(c, 64_000)
		src := &source{page: func(ctx context.Context, _ catalogue.Kind, cursor string) ([]byte, error) {
			if cursor == "" {
				return big, nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		var all sync.WaitGroup
		defer all.Wait()
		for i := range 3 {
			all.Go(func() {
				key := keyOf(s)
				key.Capabilities = uint64(i)
				_, _ = c.List(t.Context(), key, s, src)
			})
		}
		synctest.Wait()
		key := keyOf(s)
		key.Capabilities = 3
		_, err := c.List(t.Context(), key, s, src)
		wantFault(t, err, fault.Gateway, fault.Limit, fault.Exhausted)
	})
}

// Red when List doesn't look at ctx first.
func TestACallerWhoIsGoneBeginsNoWalk(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, src := server(), always(page("", "a"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.List(ctx, keyOf(s), s, src); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		synctest.Wait()
		wantAsked(t, src, 0)
	})
}

// closing is a source that wants its end told.
type closing struct {
	*source
	close func() error
}

func (s *closing) Close() error { return s.close() }

// Red when end comes before the answer, or isn't called once.
func TestASourceIsClosedWhenItsWalkIsOver(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, closed := server(), make(chan int, 10)
		begin := func(id int) *closing {
			return &closing{source: slow(page("", "a")), close: func() error { time.Sleep(time.Minute); closed <- id; return nil }}
		}
		began := time.Now()
		var all sync.WaitGroup
		for id := range 3 {
			all.Go(func() { _, _ = c.List(t.Context(), keyOf(s), s, begin(id)) })
		}
		all.Wait()
		if took := time.Since(began); took != time.Second {
			t.Errorf("waited %v", took)
		}
		<-closed
		synctest.Wait()
		if len(closed) != 0 {
			t.Error("a source that made no walk was closed, or one twice")
		}
		failing := begin(7)
		failing.page = func(context.Context, catalogue.Kind, string) ([]byte, error) { panic("at the disco") }
		failing.close = func() error { closed <- 7; panic("again") }
		_, _ = c.List(t.Context(), modernKey(s, ""), s, failing)
		<-closed
	})
}

// Red when Alone looks into memory, is joined or kept.
func TestAWalkForOneCallerAloneIsNeitherSharedNorKept(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, src := server(), slow(page("", "a"))
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := c.Alone(t.Context(), keyOf(s), s, src); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		wantAsked(t, src, 3)
		if _, ok := c.Peek(keyOf(s)); ok {
			t.Error("it was kept")
		}
		list(t, c, keyOf(s), s, src)
		if _, err := c.Alone(t.Context(), keyOf(s), s, src); err != nil {
			t.Error(err)
		}
		wantAsked(t, src, 5)
	})
}

// Red when personal looks at lists only.
func TestAFaultOfOneCallersSessionIsntToldToOthers(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, good := server(), slow(page("", "a"))
		lost := &fault.Error{Hop: fault.Upstream, Phase: fault.Session, Kind: fault.NotFound, Server: "github"}
		bad := &source{page: func(ctx context.Context, kind catalogue.Kind, cursor string) ([]byte, error) {
			_, _ = good.page(ctx, kind, cursor)
			return nil, lost
		}}
		first := make(chan error)
		go func() { _, err := c.List(t.Context(), keyOf(s), s, bad); first <- err }()
		synctest.Wait()
		second := make(chan error)
		go func() { _, err := c.List(t.Context(), keyOf(s), s, good); second <- err }()
		if err := <-first; !errors.Is(err, lost) {
			t.Errorf("who began it got %v", err)
		}
		if err := <-second; err != nil {
			t.Errorf("who joined it got %v", err)
		}
	})
}

package catalogue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
)

// hanging never ends its answer; how is what the end of its time is wrapped in.
func hanging(how ...error) *source {
	return &source{page: func(ctx context.Context, _ catalogue.Kind, _ string) ([]byte, error) {
		catalogue.Reached(ctx, fault.Body)
		<-ctx.Done()
		return nil, errors.Join(append(how, ctx.Err())...)
	}}
}

// took asks for a list that times out, and returns how long that took.
func took(t *testing.T, c *catalogue.Catalogue, key catalogue.Key, src catalogue.Source) time.Duration {
	t.Helper()
	began := time.Now()
	_, err := c.List(t.Context(), key, server(), src)
	wantFault(t, err, fault.Upstream, fault.Body, fault.TimedOut, "in time")
	return time.Since(began)
}

// Red without lateLocked; when the pause doesn't grow, or grows beyond 30 s; and when a success isn't noted.
func TestAServerThatRunsOutOfTimeIsNotAskedForAWhile(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		key, src := keyOf(server()), hanging()
		storm := func(pauses ...time.Duration) {
			for _, pause := range pauses {
				if d := took(t, c, key, src); d != 10*time.Second {
					t.Fatalf("the walk took %v", d)
				}
				asked := src.asked.Load()
				if d := took(t, c, key, src); d != 0 {
					t.Errorf("within the pause of %v it took %v", pause, d)
				}
				pass(pause - time.Millisecond)
				other := key
				other.Capabilities = 7
				took(t, c, other, src)
				wantAsked(t, src, asked)
				pass(time.Millisecond)
			}
		}
		storm(time.Second, 2*time.Second, 4*time.Second, 8*time.Second, 16*time.Second, 30*time.Second, 30*time.Second)
		list(t, c, key, server(), always(page("")))
		c.Changed(key.Server, catalogue.Any)
		storm(time.Second, 2*time.Second)
	})
}

// Red when all get the same fault: request handling names servers and trace ids in it.
func TestEachCallerGetsAFaultOfItsOwn(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src := hanging()
		took(t, c, keyOf(server()), src)
		_, one := c.List(t.Context(), keyOf(server()), server(), src)
		_, two := c.Alone(t.Context(), keyOf(server()), server(), src)
		if a, b := fault.As(one), fault.As(two); a == nil || b == nil || a == b || a.RetryAfter != time.Second {
			t.Errorf("%v and %v", one, two)
		}
	})
}

// Red when walks of one time count one by one.
func TestWalksOfOneTimeCountOnce(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		var all sync.WaitGroup
		for i := range 20 {
			key := keyOf(server())
			key.Capabilities = uint64(i)
			all.Go(func() { took(t, c, key, hanging()) })
		}
		all.Wait()
		pass(time.Second)
		list(t, c, keyOf(server()), server(), always(page("")))
	})
}

// Red when other kinds, servers or scopes are taken for the one that is late, or when what isn't lateness counts.
func TestOnlyWhatIsLateIsLate(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		key := keyOf(server())
		key.Scope = "key:1"
		took(t, c, key, hanging())
		mine, prompts, other := keyOf(server()), key, key
		prompts.Kind, other.Server = catalogue.Prompts, confset.HashBody([]byte("other"))
		for _, k := range []catalogue.Key{mine, other} {
			list(t, c, k, server(), always(page("")))
		}
		list(t, c, prompts, server(), always([]byte(`{"jsonrpc":"2.0","id":1,"result":{"prompts":[]}}`)))
	})
	for what, how := range map[string]error{"no head": catalogue.ErrUnanswered,
		"a fault of the gateway": &fault.Error{Hop: fault.Gateway, Phase: fault.Limit, Kind: fault.Exhausted, Server: "github"}} {
		bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
			_, err := c.List(t.Context(), keyOf(server()), server(), hanging(how))
			if err == nil {
				t.Error(what)
			}
			list(t, c, keyOf(server()), server(), always(page("")))
		})
	}
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gone := &source{page: func(ctx context.Context, _ catalogue.Kind, _ string) ([]byte, error) {
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Second):
			}
			return page(""), nil
		}}
		if _, err := c.List(ctx, keyOf(server()), server(), gone); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		list(t, c, keyOf(server()), server(), gone)
	})
}

// Red when nothing is forgotten.
func TestWhatIsRememberedOfLateServersIsBounded(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		var all sync.WaitGroup
		for i := range 10_500 {
			key := keyOf(server())
			key.Server = confset.HashBody(fmt.Append(nil, i))
			s := server()
			s.Timeouts.List = time.Nanosecond
			all.Go(func() { _, _ = c.List(t.Context(), key, s, hanging()) })
			if i%500 == 499 {
				all.Wait()
				synctest.Wait()
			}
		}
		if n := catalogue.Late(c); n != 10_000 {
			t.Errorf("%d", n)
		}
		pass(12 * time.Minute)
		if n := catalogue.Late(c); n != 0 {
			t.Errorf("%d after their time", n)
		}
	})
}

// Red when Reserve counts nothing, or when a page or the end of a walk doesn't give back what was reserved.
func TestWhatIsBeingReadIsCounted(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		catalogue.SetRoom(c, 64_000)
		slow, quick := keyOf(server()), keyOf(server())
		quick.Kind = catalogue.Resources
		reads := &source{page: func(ctx context.Context, _ catalogue.Kind, _ string) ([]byte, error) {
			if err := catalogue.Reserve(ctx, 40_000); err != nil {
				return nil, err
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		fits := &source{page: func(ctx context.Context, _ catalogue.Kind, cursor string) ([]byte, error) {
			if cursor == "" {
				return []byte(`{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"2","resources":[]}}`), catalogue.Reserve(ctx, 40_000)
			}
			return []byte(`{"jsonrpc":"2.0","id":1,"result":{"resources":[]}}`), catalogue.Reserve(ctx, 40_000)
		}}
		var all sync.WaitGroup
		all.Go(func() { took(t, c, slow, reads) })
		synctest.Wait()
		_, err := c.List(t.Context(), quick, server(), fits)
		wantFault(t, err, fault.Gateway, fault.Limit, fault.Exhausted)
		all.Wait()
		list(t, c, quick, server(), fits)
		if n := catalogue.Flying(c); n != 0 {
			t.Errorf("%d bytes are counted for nothing", n)
		}
	})
	if err := catalogue.Reserve(t.Context(), 1<<40); err != nil {
		t.Error(err)
	}
}

// Red when the revision isn't in the key.
func TestClientsOfTwoRevisionsShareNoList(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		older, newer := keyOf(server()), keyOf(server())
		older.Revision, newer.Revision = "2025-03-26", "2025-11-25"
		list(t, c, older, server(), always(page("", "old")))
		if got := names(list(t, c, newer, server(), always(page("", "new")))); got != "new" {
			t.Errorf("the newer client sees %s", got)
		}
		revision := strings.Clone(older.Revision)
		if n := testing.AllocsPerRun(100, func() {
			k := catalogue.Key{Server: older.Server, Revision: revision}
			if _, ok := c.Peek(k); !ok {
				t.Error("it isn't there")
			}
		}); n != 0 {
			t.Errorf("a look into memory allocates %v times", n)
		}
	})
}

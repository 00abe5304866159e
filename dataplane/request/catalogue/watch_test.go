package catalogue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
)

// telling is a source that tells changes: a test holds its streams.
type telling struct {
	*source
	streams chan *stream
}

type stream struct {
	began   time.Time
	changed func(catalogue.Kind)
	end     chan error
	over    chan struct{}
}

func newTelling(answer []byte) *telling {
	src := &telling{source: always(answer), streams: make(chan *stream, 2000)}
	src.tells = true
	src.watch = func(ctx context.Context, changed func(catalogue.Kind)) error {
		st := &stream{began: time.Now(), changed: changed, end: make(chan error), over: make(chan struct{})}
		defer close(st.over)
		src.streams <- st
		select {
		case err := <-st.end:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return src
}

// stand asks twice and lets the stream stand that begins by that.
func (src *telling) stand(t *testing.T, c *catalogue.Catalogue, key catalogue.Key) *stream {
	t.Helper()
	list(t, c, key, server(), src)
	list(t, c, key, server(), src)
	st := <-src.streams
	st.changed(catalogue.Any)
	return st
}

func warm(c *catalogue.Catalogue, key catalogue.Key) bool {
	_, ok := c.Peek(key)
	return ok
}

// Red when a list is kept without a watch, when the first request opens one, or the second doesn't.
func TestAListOfWhichChangesAreToldIsKeptOnlyWhileAStreamStands(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s, key := server(), keyOf(server())
		src := newTelling(page("", "a"))
		list(t, c, key, s, src)
		synctest.Wait()
		if src.opens.Load() != 0 || warm(c, key) {
			t.Fatal("the first request opened a stream, or was kept")
		}
		list(t, c, key, s, src)
		st := <-src.streams
		list(t, c, key, s, src)
		if warm(c, key) {
			t.Fatal("kept before the stream stood")
		}
		st.changed(catalogue.Any)
		if warm(c, key) {
			t.Fatal("there before it was fetched again")
		}
		list(t, c, key, s, src)
		if !warm(c, key) {
			t.Fatal("not kept while the stream stands")
		}
		wantAsked(t, src.source, 4)
		if n := src.opens.Load(); n != 1 {
			t.Errorf("%d streams", n)
		}
	})
}

// Red when asked isn't bound to the list's time.
func TestWhoAsksAgainOnlyAfterTheListsTimeOpensNoStream(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src := newTelling(page("", "a"))
		for range 5 {
			list(t, c, keyOf(server()), server(), src)
			time.Sleep(31 * time.Second)
		}
		if n := src.opens.Load(); n != 0 {
			t.Errorf("%d streams", n)
		}
	})
}

// Red when a change counts for each kind.
func TestAToldChangeDropsTheListsOfItsKind(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src := newTelling(page(`"prompts":[],`, "a"))
		tools, prompts := keyOf(server()), keyOf(server())
		prompts.Kind = catalogue.Prompts
		st := src.stand(t, c, tools)
		list(t, c, tools, server(), src)
		list(t, c, prompts, server(), src)
		st.changed(catalogue.Tools)
		if warm(c, tools) || !warm(c, prompts) {
			t.Errorf("tools %v, prompts %v", warm(c, tools), warm(c, prompts))
		}
		if n := src.opens.Load(); n != 1 {
			t.Errorf("%d streams for two kinds", n)
		}
	})
}

// Red when land doesn't look at what was heard since the walk began.
func TestWhatIsFetchedWhileAChangeIsToldIsntKept(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src, key := newTelling(page("", "a")), keyOf(server())
		st := src.stand(t, c, key)
		src.page = slow(page("", "a")).page
		time.AfterFunc(time.Second/2, func() { st.changed(catalogue.Tools) })
		list(t, c, key, server(), src)
		if warm(c, key) {
			t.Error("it was kept")
		}
		list(t, c, key, server(), src)
		if !warm(c, key) {
			t.Error("the next one wasn't kept")
		}
	})
}

// Red when stands and the counts aren't moved at the end of a stream, or late calls of changed make one stand again.
func TestAGapDropsTheListsUntilTheStreamStandsAgain(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src, key := newTelling(page("", "a")), keyOf(server())
		st := src.stand(t, c, key)
		list(t, c, key, server(), src)
		st.end <- errors.New("cut")
		synctest.Wait()
		if warm(c, key) {
			t.Fatal("kept over the gap")
		}
		st.changed(catalogue.Tools) // of a stream that is over
		list(t, c, key, server(), src)
		if warm(c, key) {
			t.Fatal("kept in the gap")
		}
		st = <-src.streams
		list(t, c, key, server(), src)
		if warm(c, key) {
			t.Fatal("kept before the stream stood again")
		}
		st.changed(catalogue.Any)
		list(t, c, key, server(), src)
		if !warm(c, key) {
			t.Fatal("not kept when it stood again")
		}
	})
}

// Red when startIdle is taken out, or a look-up doesn't count as use.
func TestAStreamIsClosedAfterFiveMinutesWithoutUse(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src, key := newTelling(page(`"ttlMs":86400000,`, "a")), modernKey(server(), "")
		st := src.stand(t, c, key)
		for range 8 {
			list(t, c, key, server(), src)
			time.Sleep(2 * time.Minute)
		}
		wantAsked(t, src.source, 3)
		last := time.Now().Add(-2 * time.Minute)
		<-st.over
		if idle := time.Since(last); idle < 5*time.Minute-time.Second || idle > 5*time.Minute {
			t.Errorf("closed after %v", idle)
		}
		synctest.Wait()
		if warm(c, key) || catalogue.Watches(c) != 0 {
			t.Error("the list or the watch is still there")
		}
		src.stand(t, c, key)
	})
}

// Red without the pause, its growth or its bounds.
func TestAStreamThatEndsIsOpenedAgainEverMoreSlowly(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src, key := newTelling(page("", "a")), keyOf(server())
		src.stand(t, c, key).end <- nil
		began, last := time.Now(), time.Now()
		var pauses []time.Duration
		for range 20 {
			st := <-src.streams
			pauses = append(pauses, st.began.Sub(last))
			last = st.began
			list(t, c, key, server(), src) // so that it stays in use
			st.end <- nil
		}
		if least, most := slices.Min(pauses), slices.Max(pauses); least < time.Second || most > 30*time.Second || pauses[0] > 3*time.Second {
			t.Errorf("pauses %v", pauses)
		}
		if took := time.Since(began); took < time.Minute {
			t.Errorf("20 streams in %v", took)
		}
		if len(slices.Compact(slices.Sorted(slices.Values(pauses)))) < 5 {
			t.Error("no jitter")
		}
		st := <-src.streams
		st.changed(catalogue.Any)
		for range 4 {
			time.Sleep(10 * time.Second)
			list(t, c, key, server(), src)
		}
		before := time.Now()
		st.end <- nil
		<-src.streams
		if pause := time.Since(before); pause > 3*time.Second {
			t.Errorf("a pause of %v after a stream that stood well", pause)
		}
	})
}

// Red when bar isn't asked.
func TestAServerWithoutSuchAStreamIsAskedAgainAfterTenMinutes(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src, key := newTelling(page("", "a")), keyOf(server())
		var tried []time.Time
		src.watch = func(context.Context, func(catalogue.Kind)) error {
			tried = append(tried, time.Now())
			return fmt.Errorf("405: %w", errors.ErrUnsupported)
		}
		for range 70 {
			list(t, c, key, server(), src)
			time.Sleep(10 * time.Second)
		}
		if len(tried) != 2 || tried[1].Sub(tried[0]) < 10*time.Minute {
			t.Errorf("tried at %v", tried)
		}
		if warm(c, key) {
			t.Error("it was kept")
		}
	})
}

// Red without mostWatches.
func TestStreamsAreBounded(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src := newTelling(page("", "a"))
		for i := range 1010 {
			key := modernKey(server(), fmt.Sprint(i))
			list(t, c, key, server(), src)
			list(t, c, key, server(), src)
		}
		synctest.Wait()
		if n := src.opens.Load(); n != 1000 {
			t.Errorf("%d streams", n)
		}
	})
}

// Red without mostViews: whoever says of ever new clients what they can do would hold all streams there are.
func TestOneServersStreamsForOneScopeAreBounded(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src := newTelling(page("", "a"))
		view := func(capabilities uint64, scope string) {
			key := catalogue.Key{Server: server().Hash, Capabilities: capabilities, Scope: scope}
			list(t, c, key, server(), src)
			list(t, c, key, server(), src)
		}
		for i := range uint64(100) {
			view(i, "")
		}
		synctest.Wait()
		if n := src.opens.Load(); n != 32 {
			t.Errorf("%d streams", n)
		}
		view(0, "key:1")
		synctest.Wait()
		if n := src.opens.Load(); n != 33 {
			t.Errorf("%d streams with one of another scope", n)
		}
	})
}

// Red when askedLocked refuses what is new once it is full, or remembers for as long as a server likes.
func TestWhoAsksForEverNewListsDoesntKeepOthersFromTheirStream(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src := newTelling(page(`"ttlMs":86400000,`, "a"))
		for i := range uint64(10_100) {
			list(t, c, catalogue.Key{Server: server().Hash, Era: message.Modern, Capabilities: 1 + i}, server(), src)
		}
		key := modernKey(server(), "key:1")
		list(t, c, key, server(), src)
		list(t, c, key, server(), src)
		synctest.Wait()
		if n := src.opens.Load(); n != 1 {
			t.Fatalf("%d streams", n)
		}
		if n := catalogue.Asked(c); n > 10_000 {
			t.Errorf("%d keys are remembered", n)
		}
		time.Sleep(12 * time.Minute)
		if n := catalogue.Asked(c); n != 0 {
			t.Errorf("%d keys are still remembered", n)
		}
	})
}

// Red when hear doesn't recover.
func TestAPanickingStreamIsAGap(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src, key := newTelling(page("", "a")), keyOf(server())
		src.watch = func(_ context.Context, changed func(catalogue.Kind)) error {
			changed(catalogue.Any)
			panic("at the disco")
		}
		for range 4 {
			list(t, c, key, server(), src)
			synctest.Wait()
			time.Sleep(5 * time.Second)
		}
		if src.opens.Load() < 2 || warm(c, key) {
			t.Errorf("%d streams", src.opens.Load())
		}
	})
}

// Red when changed works on the lists of the whole server.
func TestAStreamsChangesAreThoseOfItsView(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src, mine, yours := newTelling(page("", "a")), modernKey(server(), "key:1"), modernKey(server(), "key:2")
		a := src.stand(t, c, mine)
		src.stand(t, c, yours)
		list(t, c, mine, server(), src)
		list(t, c, yours, server(), src)
		a.changed(catalogue.Tools)
		if warm(c, mine) || !warm(c, yours) {
			t.Errorf("mine %v, yours %v", warm(c, mine), warm(c, yours))
		}
		c.Changed(server().Hash, catalogue.Tools)
		if warm(c, yours) {
			t.Error("what a relayed stream told doesn't count for each view")
		}
	})
}

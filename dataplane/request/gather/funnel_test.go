package gather_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/proto/fault"
)

// script is a stream whose events a test sends.
type script struct {
	ctx    context.Context
	events chan string // closed: the stream ends
	end    error       // what ends it; nil: io.EOF
	read   *atomic.Int64
	closed *atomic.Int64
}

func (s *script) NextEvent(dst []byte, limit int64) ([]byte, error) {
	select {
	case e, ok := <-s.events:
		switch {
		case !ok && s.end != nil:
			return dst, s.end
		case !ok:
			return dst, io.EOF
		case limit > 0 && int64(len(e)) > limit:
			return dst, errors.New("too large")
		}
		if s.read != nil {
			s.read.Add(1)
		}
		return append(dst, e...), nil
	case <-s.ctx.Done():
		return dst, s.ctx.Err()
	}
}

func (s *script) Close() {
	if s.closed != nil {
		s.closed.Add(1)
	}
}

// of opens a stream with these events, which then stays open if stay.
func of(stay bool, events ...string) func(context.Context) (gather.Events, error) {
	return func(ctx context.Context) (gather.Events, error) {
		s := &script{ctx: ctx, events: make(chan string, len(events))}
		for _, e := range events {
			s.events <- e
		}
		if !stay {
			close(s.events)
		}
		return s, nil
	}
}

// flood opens a stream that always has an event, and counts what is read of it.
func flood(text string, read *atomic.Int64) func(context.Context) (gather.Events, error) {
	return func(ctx context.Context) (gather.Events, error) {
		events := make(chan string)
		go func() {
			for {
				select {
				case events <- text:
				case <-ctx.Done():
					return
				}
			}
		}()
		return &script{ctx: ctx, events: events, read: read}, nil
	}
}

func next(t *testing.T, f *gather.Funnel, server, event string, want error) {
	t.Helper()
	s, e, err := f.Next()
	if s != server || string(e) != event || !errors.Is(err, want) {
		t.Fatalf("%q %q %v, want %q %q %v", s, e, err, server, event, want)
	}
}

func TestEventsOfAllComeThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gather.NewFunnel(t.Context())
		defer f.Close()
		var got []string
		for _, name := range []string{"a", "b", "c"} {
			f.Add(name, of(true, name+"1", name+"2", name+"3"))
		}
		for range 9 {
			server, event, err := f.Next()
			if err != nil || server != string(event[:1]) {
				t.Fatalf("%s %q %v", server, event, err)
			}
			got = append(got, string(event))
		}
		for _, name := range []string{"a", "b", "c"} {
			mine := slices.DeleteFunc(slices.Clone(got), func(e string) bool { return e[:1] != name })
			if !slices.Equal(mine, []string{name + "1", name + "2", name + "3"}) {
				t.Errorf("%q", mine)
			}
		}
		if _, _, err := f.NextWithin(time.Minute); !errors.Is(err, gather.ErrQuiet) {
			t.Error(err)
		}
	})
}

// One server that always has something to say gets a turn, and those that have something, too, get theirs.
func TestAFloodGetsItsTurnAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gather.NewFunnel(t.Context())
		defer f.Close()
		for _, name := range []string{"a", "b", "c", "d"} {
			f.Add(name, flood(name, nil))
		}
		count := map[string]int{}
		for range 400 {
			synctest.Wait()
			server, _, err := f.Next()
			if err != nil {
				t.Fatal(err)
			}
			count[server]++
		}
		for _, name := range []string{"a", "b", "c", "d"} {
			if count[name] != 100 {
				t.Errorf("%v", count)
			}
		}
	})
}

// Of what the caller doesn't take nothing is read: each server has at most one event in memory.
func TestASlowCallerSlowsTheServersDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gather.NewFunnel(t.Context())
		defer f.Close()
		var read atomic.Int64
		f.Add("a", flood("x", &read))
		for want := int64(1); want < 5; want++ {
			if synctest.Wait(); read.Load() != max(1, want-1) {
				t.Fatalf("%d events were read before number %d was asked for", read.Load(), want)
			}
			next(t, f, "a", "x", nil)
			if synctest.Wait(); read.Load() != want {
				t.Fatalf("%d events were read while the caller has number %d", read.Load(), want)
			}
		}
	})
}

func TestTheEventIsValidUntilTheNext(t *testing.T) {
	f := gather.NewFunnel(t.Context())
	defer f.Close()
	for i := range 8 {
		f.Add(fmt.Sprint(i), flood(strings.Repeat(fmt.Sprint(i), 100), nil))
	}
	for range 2000 {
		server, event, err := f.Next()
		if err != nil || string(event) != strings.Repeat(server, 100) {
			t.Fatalf("%s %q %v", server, event, err)
		}
	}
	_, event, _ := f.Next() //nolint:errcheck // as above
	kept := string(event)
	f.Close()
	if string(event) != kept {
		t.Error("Close spoiled the event")
	}
}

func TestAStreamThatEndsIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gather.NewFunnel(t.Context())
		defer f.Close()
		var opened []time.Duration
		var closed atomic.Int64
		began := time.Now()
		f.Add("a", func(ctx context.Context) (gather.Events, error) {
			opened = append(opened, time.Since(began))
			events := make(chan string, 1)
			events <- fmt.Sprint(len(opened))
			close(events)
			return &script{ctx: ctx, events: events, closed: &closed}, nil
		})
		next(t, f, "a", "1", nil)
		next(t, f, "a", "", gather.ErrGap)
		next(t, f, "a", "2", nil)
		next(t, f, "a", "", gather.ErrGap)
		next(t, f, "a", "3", nil)
		if len(opened) != 3 || closed.Load() != 2 {
			t.Fatalf("opened at %v, closed %d", opened, closed.Load())
		}
		for i := 1; i < 3; i++ { // each brought something, so that the rest doesn't grow
			if rest := opened[i] - opened[i-1]; rest < time.Second || rest >= 1500*time.Millisecond {
				t.Errorf("rested for %v", rest)
			}
		}
	})
}

func TestRestsGrowWhileNothingComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gather.NewFunnel(t.Context())
		defer f.Close()
		var tries []time.Duration
		var told atomic.Int64
		f.Failed = func(server string, err error) {
			if server == "a" && strings.Contains(err.Error(), "refused") {
				told.Add(1)
			}
		}
		began := time.Now()
		f.Add("a", func(ctx context.Context) (gather.Events, error) {
			tries = append(tries, time.Since(began))
			if len(tries) < 9 {
				return nil, errors.New("refused")
			}
			return of(true, "back")(ctx)
		})
		next(t, f, "a", "", gather.ErrGap)
		next(t, f, "a", "back", nil)
		for i, least := range []time.Duration{1, 2, 4, 8, 16, 20, 20, 20} {
			least *= time.Second
			if rest := tries[i+1] - tries[i]; rest < least || rest >= least*3/2 {
				t.Errorf("rest %d is %v, want %v and up to half more", i, rest, least)
			}
		}
		if told.Load() != 8 {
			t.Errorf("%d failures were told", told.Load())
		}
	})
}

// One that stood for long begins with a short rest, even if it was quiet.
func TestALongStreamEndsTheGrowth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gather.NewFunnel(t.Context())
		defer f.Close()
		var tries, ended []time.Time
		f.Add("a", func(ctx context.Context) (gather.Events, error) {
			tries = append(tries, time.Now())
			if len(tries) != 5 {
				return nil, errors.New("refused")
			}
			events := make(chan string)
			time.AfterFunc(time.Minute, func() { ended = append(ended, time.Now()); close(events) })
			return &script{ctx: ctx, events: events}, nil
		})
		next(t, f, "a", "", gather.ErrGap)
		if _, _, err := f.NextWithin(62 * time.Second); !errors.Is(err, gather.ErrQuiet) {
			t.Fatal(err)
		}
		f.Close()
		if len(tries) < 6 || tries[5].Sub(ended[0]) >= 1500*time.Millisecond {
			t.Errorf("%v %v", tries, ended)
		}
	})
}

func TestARefusalForGoodIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gather.NewFunnel(t.Context())
		defer f.Close()
		var tries atomic.Int64
		f.Failed = func(server string, err error) { t.Errorf("%s: %v", server, err) }
		for i, err := range []error{
			fmt.Errorf("wrapped: %w", errors.ErrUnsupported),
			&fault.Error{Hop: fault.Upstream, Phase: fault.Headers, Kind: fault.Unsupported, UpstreamStatus: 405},
			&fault.Error{Hop: fault.Upstream, Phase: fault.Session, Kind: fault.NotFound, UpstreamStatus: 404},
		} {
			f.Add(fmt.Sprint(i), func(context.Context) (gather.Events, error) {
				tries.Add(1)
				return nil, err
			})
		}
		f.Add("good", of(true, "x"))
		next(t, f, "good", "x", nil)
		if _, _, err := f.NextWithin(time.Hour); !errors.Is(err, gather.ErrQuiet) || tries.Load() != 3 {
			t.Errorf("%v after %d tries", err, tries.Load())
		}
	})
}

func TestAHangingOneHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gather.NewFunnel(t.Context())
		f.Add("hangs", func(ctx context.Context) (gather.Events, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		f.Add("panics", func(context.Context) (gather.Events, error) { panic("no") })
		f.Add("good", of(true, "x"))
		next(t, f, "good", "x", nil)
		f.Close()
		if _, _, err := f.Next(); !errors.Is(err, gather.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestCloseWaitsForAllAndEndsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gather.NewFunnel(t.Context())
		var closed atomic.Int64
		for i := range 20 {
			f.Add(fmt.Sprint(i), func(ctx context.Context) (gather.Events, error) {
				return &script{ctx: ctx, events: make(chan string), closed: &closed}, nil
			})
		}
		ended := make(chan error)
		go func() { _, _, err := f.Next(); ended <- err }()
		synctest.Wait()
		f.Close()
		if closed.Load() != 20 {
			t.Errorf("%d of 20 streams are closed", closed.Load())
		}
		if err := <-ended; !errors.Is(err, gather.ErrClosed) {
			t.Error(err)
		}
		f.Add("late", func(context.Context) (gather.Events, error) { panic("opened after Close") })
		f.Close()
	})
}

func TestTheEndOfTheContextEndsTheFunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := gather.NewFunnel(ctx)
		defer f.Close()
		f.Add("a", of(true))
		time.AfterFunc(time.Second, cancel)
		next(t, f, "", "", gather.ErrClosed)
	})
}

func TestEventsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := gather.NewFunnel(t.Context())
		defer f.Close()
		f.EventLimit = 10
		var once atomic.Bool
		f.Add("a", func(ctx context.Context) (gather.Events, error) {
			if once.Swap(true) {
				return of(true, "small")(ctx)
			}
			return of(true, "larger than that")(ctx)
		})
		next(t, f, "a", "", gather.ErrGap)
		next(t, f, "a", "small", nil)
	})
}

func TestAddingWhileOthersAreRead(t *testing.T) {
	f := gather.NewFunnel(t.Context())
	defer f.Close()
	go func() {
		for i := range 50 {
			f.Add(fmt.Sprint(i), of(true, "x"))
		}
	}()
	seen := map[string]bool{}
	for range 50 {
		server, _, err := f.Next()
		if err != nil || seen[server] {
			t.Fatal(server, err)
		}
		seen[server] = true
	}
}

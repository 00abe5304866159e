package catalogue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/proto/fault"
)

// left is an error that says where a call was.
type left struct{ at fault.Phase }

func (l left) Error() string        { return "left" }
func (l left) Unwrap() error        { return context.DeadlineExceeded }
func (l left) Reached() fault.Phase { return l.at }

// stuck hangs in a phase; said is whether the catalogue hears of it before the error tells.
func stuck(at fault.Phase, said bool) *source {
	return &source{page: func(ctx context.Context, _ catalogue.Kind, _ string) ([]byte, error) {
		if said {
			catalogue.Reached(ctx, at)
		}
		<-ctx.Done()
		return nil, left{at}
	}}
}

// Red when a waiter that gives up returns the end of its context, and when it doesn't look where the walk is.
func TestWhoRunsOutOfTimeIsToldWhereTheWalkIs(t *testing.T) {
	for _, at := range []fault.Phase{fault.Connect, fault.Headers, fault.Body} {
		for _, limit := range []time.Duration{time.Second, 10 * time.Second, 10*time.Second + time.Nanosecond} {
			bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				began := time.Now()
				_, err := c.List(ctx, keyOf(server()), server(), stuck(at, true))
				wantFault(t, err, fault.Upstream, at, fault.TimedOut, "tools/list")
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > limit+100*time.Millisecond {
					t.Errorf("%v after %v", err, time.Since(began))
				}
			})
		}
	}
}

// Red when the two deadlines race, or when the error of the walk isn't asked where it was.
func TestTheSamePhaseIsToldEachTimeWhereBothDeadlinesAreOne(t *testing.T) {
	for n := range 50 {
		bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
			ctx, cancel := context.WithTimeout(t.Context(), server().Timeouts.List)
			defer cancel()
			_, err := c.List(ctx, keyOf(server()), server(), stuck(fault.TLS, false))
			wantFault(t, err, fault.Upstream, fault.TLS, fault.TimedOut)
			_, again := c.List(t.Context(), keyOf(server()), server(), stuck(fault.Headers, true))
			wantFault(t, again, fault.Upstream, fault.TLS, fault.TimedOut)
		})
		if t.Failed() {
			t.Fatal(n)
		}
	}
}

func TestWhoLeavesGetsNoFault(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := c.List(ctx, keyOf(server()), server(), stuck(fault.Body, true)); fault.As(err) != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// Red when Reserve doesn't say that the answer has begun, or when the next page goes on in the body of the last one.
func TestAWalkIsInTheBodyOnceItReads(t *testing.T) {
	for pages, want := range map[int]fault.Phase{0: fault.Body, 1: fault.Headers} {
		bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
			src := &source{page: func(ctx context.Context, _ catalogue.Kind, cursor string) ([]byte, error) {
				if cursor == "" {
					if err := catalogue.Reserve(ctx, 10); err != nil {
						return nil, err
					}
				}
				if cursor == "" && pages > 0 {
					return page(`"nextCursor":"2",`), nil
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := c.List(ctx, keyOf(server()), server(), src)
			wantFault(t, err, fault.Upstream, want, fault.TimedOut)
		})
	}
}

// greet makes a greeting that ends with err when its time of 10 s is over; nil succeeds at once.
func greet(t *testing.T, c *catalogue.Catalogue, kind catalogue.Kind, scope string, err error) (took time.Duration, got error) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), server().Timeouts.List)
	defer cancel()
	got = c.Timely(ctx, server(), kind, scope, func() error {
		if err != nil {
			<-ctx.Done()
		}
		return err
	})
	return time.Since(began), got
}

// Red when Timely asks nobody, remembers nothing, or doesn't forget; when the pause doesn't double; and when it grows beyond 30 s.
func TestAServerThatIsLateToGreetIsNotGreetedForAWhile(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		late := fmt.Errorf("send: %w", left{fault.Body})
		storm := func(pauses ...time.Duration) {
			for _, pause := range pauses {
				if took, err := greet(t, c, catalogue.Initialize, "", late); took != 10*time.Second || !errors.Is(err, late) {
					t.Fatalf("it took %v: %v", took, err)
				}
				if err := c.Late(server(), catalogue.Initialize, ""); fault.As(err) == nil || fault.As(err).RetryAfter != pause {
					t.Fatalf("%v, want a pause of %v", err, pause)
				}
				pass(pause - time.Millisecond)
				took, err := greet(t, c, catalogue.Initialize, "", late)
				wantFault(t, err, fault.Upstream, fault.Body, fault.TimedOut, "initialize", "in time")
				if took != 0 {
					t.Errorf("within the pause of %v it took %v", pause, took)
				}
				pass(time.Millisecond)
			}
		}
		storm(time.Second, 2*time.Second, 4*time.Second, 8*time.Second, 16*time.Second, 30*time.Second, 30*time.Second)
		if _, err := greet(t, c, catalogue.Initialize, "", nil); err != nil {
			t.Fatal(err)
		}
		storm(time.Second, 2*time.Second)
	})
}

// Red when what isn't lateness counts, or counts for something else.
func TestOnlyLateGreetingsAreRemembered(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		for _, err := range []error{catalogue.ErrUnanswered, errors.Join(catalogue.ErrUnanswered, context.DeadlineExceeded),
			&fault.Error{Hop: fault.Upstream, Phase: fault.Connect, Kind: fault.Refused}} {
			if _, got := greet(t, c, catalogue.Discover, "", err); !errors.Is(got, err) || c.Late(server(), catalogue.Discover, "") != nil {
				t.Errorf("%v counts", err)
			}
		}
		short, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		_ = c.Timely(short, server(), catalogue.Discover, "", func() error { <-short.Done(); return short.Err() })
		if err := c.Late(server(), catalogue.Discover, ""); err != nil {
			t.Errorf("it had less than half of its time: %v", err)
		}
		_, _ = greet(t, c, catalogue.Discover, "key:1", context.DeadlineExceeded)
		list(t, c, keyOf(server()), server(), always(page("")))
		if c.Late(server(), catalogue.Discover, "") != nil || c.Late(server(), catalogue.Initialize, "key:1") != nil {
			t.Error("others are barred")
		}
		if c.Late(server(), catalogue.Discover, "key:1") == nil {
			t.Error("nothing is remembered")
		}
	})
}

package credential_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/proto/fault"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// Never again: a request to the token endpoint per caller.
func TestManyCallersAskOnce(t *testing.T) {
	for name, a := range map[string]*configv1.Auth{"client credentials": machine(), "token exchange": exchange()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &configv1.ServerSpec{Auth: a})
				gate := make(chan struct{})
				w.endpoint.set(func(_ context.Context, n int, _ *egress.Request) (*egress.Answer, error) {
					<-gate
					return minted(n, 300), nil
				})
				var callers sync.WaitGroup
				var good atomic.Int32
				for range 200 {
					callers.Go(func() {
						ask := w.ask()
						ask.Subject = jwt
						if b, err := w.resolve(ask); err == nil && b.Fields[0].Value == "Bearer "+token(1) {
							good.Add(1)
						}
					})
				}
				synctest.Wait()
				close(gate)
				callers.Wait()
				if good.Load() != 200 || w.endpoint.count() != 1 {
					t.Errorf("%d have the token after %d requests", good.Load(), w.endpoint.count())
				}
			})
		})
	}
}

// A caller who leaves takes nothing from the others, and a token isn't lost with who asked for it.
func TestCallersWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
		gate := make(chan struct{})
		w.endpoint.set(func(ctx context.Context, n int, r *egress.Request) (*egress.Answer, error) {
			select {
			case <-gate:
				return minted(n, 300), nil
			case <-ctx.Done():
				return silent(ctx, n, r)
			}
		})
		first, leave := context.WithCancel(t.Context())
		errs := make(chan error, 3)
		go func() { _, err := w.resolver.Resolve(first, w.ask()); errs <- err }()
		synctest.Wait()
		second, leaveToo := context.WithCancel(t.Context())
		go func() { _, err := w.resolver.Resolve(second, w.ask()); errs <- err }()
		synctest.Wait()
		leave()
		leaveToo()
		if err := <-errs; !errors.Is(err, context.Canceled) { // who only waited goes at once
			t.Error(err)
		}
		go func() { _, err := w.resolver.Resolve(t.Context(), w.ask()); errs <- err }()
		synctest.Wait()
		close(gate)
		for range 2 {
			if err := <-errs; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if b, err := w.resolve(w.ask()); err != nil || w.endpoint.count() != 1 {
			t.Error(show(b), err, w.endpoint.count())
		}
	})
}

// Never again: a handshake that waits for an authorization server until somebody else gives up.
func TestNobodyWaitsLongForAnAuthorizationServer(t *testing.T) {
	for _, c := range []struct {
		limits *configv1.Timeouts
		want   time.Duration
	}{
		{nil, 10 * time.Second},
		{&configv1.Timeouts{Connect: "1s", FirstByte: "2s"}, 3 * time.Second},
		{&configv1.Timeouts{Connect: "1m", FirstByte: "1h"}, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &configv1.ServerSpec{Auth: machine(), Timeouts: c.limits})
			w.endpoint.set(silent)
			began := time.Now()
			_, err := w.resolve(w.ask())
			if face(err) != "hop=authserver; phase=token; kind=timed_out" || time.Since(began) != c.want {
				t.Errorf("%v after %v, want %v", err, time.Since(began), c.want)
			}
		})
	}
}

// Never again, the other half: while the old token lives, nobody but one waits, and then nobody.
func TestNobodyWaitsWhileAnOldTokenLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
		old, err := w.resolve(w.ask())
		if err != nil {
			t.Fatal(err)
		}
		w.endpoint.set(silent)
		time.Sleep(241 * time.Second) // past four fifths of its life
		began := time.Now()
		done := make(chan string, 1)
		go func() { b, err := w.resolve(w.ask()); done <- show(b) + errText(err) }()
		synctest.Wait()
		for range 3 {
			if b, err := w.resolve(w.ask()); err != nil || show(b) != show(old) || time.Since(began) > 0 {
				t.Errorf("%s %v after %v", show(b), err, time.Since(began))
			}
		}
		if got := <-done; got != show(old) || time.Since(began) != 10*time.Second {
			t.Errorf("%s after %v", got, time.Since(began))
		}
		if b, err := w.resolve(w.ask()); err != nil || show(b) != show(old) || time.Since(began) != 10*time.Second {
			t.Errorf("%s %v: somebody waits again at once", show(b), err)
		}
		if n := strings.Count(w.log.String(), "couldn't be renewed"); n != 1 {
			t.Errorf("%d lines in the log:\n%s", n, w.log)
		}
		time.Sleep(60 * time.Second) // now it has ended
		if b, err := w.resolve(w.ask()); err == nil {
			t.Errorf("a token is used after its end: %s", show(b))
		}
		clean(t, "the log", w.log.String())
	})
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A broken token endpoint is asked once a second, whoever calls.
func TestAFailureIsTheAnswerForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
		w.endpoint.set(always(status(401, `{"error":"invalid_client"}`), nil))
		var texts []string
		for i, pause := range []time.Duration{0, 0, time.Second - 1, 1, 0} {
			time.Sleep(pause)
			_, err := w.resolve(w.ask())
			texts = append(texts, errText(err))
			if want := []int{1, 1, 1, 2, 2}[i]; w.endpoint.count() != want || texts[i] != texts[0] {
				t.Errorf("call %d: %d requests, %v", i, w.endpoint.count(), err)
			}
		}
		w.endpoint.set(nil)
		time.Sleep(time.Second)
		if _, err := w.resolve(w.ask()); err != nil {
			t.Errorf("it doesn't heal: %v", err)
		}
	})
}

// A fault that several got is each one's own: stages write into it.
func TestFaultsAreNotShared(t *testing.T) {
	w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
	w.endpoint.set(always(nil, &fault.Error{Hop: fault.AuthServer, Phase: fault.DNS, Kind: fault.NotFound, Message: "no"}))
	_, one := w.resolve(w.ask())
	_, two := w.resolve(w.ask())
	fault.As(one).Message = "changed"
	if fault.As(two).Message != "no" {
		t.Error("it is shared")
	}
}

// What the upstream refused goes, but not faster than a token endpoint can be asked for another.
func TestRefusedTokensGo(t *testing.T) {
	for name, a := range map[string]*configv1.Auth{"client credentials": machine(), "token exchange": exchange()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &configv1.ServerSpec{Auth: a})
				for i, pause := range []time.Duration{0, 0, 5 * time.Second, 5*time.Second - 1, 1, time.Hour} {
					time.Sleep(pause)
					ask := w.ask()
					ask.Subject = jwt
					if _, err := w.resolve(ask); err != nil {
						t.Fatal(err)
					}
					// The token that was dropped after call 0 is another one from call 1 on, that of call 4 from call 5 on.
					if want := []int{1, 2, 2, 2, 2, 3}[i]; w.endpoint.count() != want {
						t.Errorf("call %d: %d requests, want %d", i, w.endpoint.count(), want)
					}
					w.resolver.Refused(ask)
				}
			})
		})
	}
	w := newWorld(t, &configv1.ServerSpec{})
	w.resolver.Refused(w.ask()) // nothing of ours was refused
}

// A caller whose own credential is refused doesn't make the token of everybody else go.
func TestARefusedCredentialOfTheCallerDropsNothing(t *testing.T) {
	w := newWorld(t, &configv1.ServerSpec{Auth: machine(), ClientHeaders: []string{"authorization"}})
	for range 2 {
		if _, err := w.resolve(w.ask()); err != nil {
			t.Fatal(err)
		}
		own := w.ask("X-Mcp-My_up-Authorization: Bearer wrong")
		if b, err := w.resolve(own); err != nil || b.Resolution != credential.PerRequest {
			t.Fatalf("%v, %v", b, err)
		}
		w.resolver.Refused(own)
	}
	if n := w.endpoint.count(); n != 1 {
		t.Errorf("%d requests for a token", n)
	}
}

// A token belongs to the config and the secret it was made of.
func TestAChangeAsksForAnotherToken(t *testing.T) {
	for name, a := range map[string]*configv1.Auth{"client credentials": machine(), "token exchange": exchange()} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, &configv1.ServerSpec{Auth: a})
			n := 0
			expect := func(what string, more int) {
				t.Helper()
				ask := w.ask()
				ask.Subject = jwt
				n += more
				if _, err := w.resolve(ask); err != nil || w.endpoint.count() != n {
					t.Errorf("%s: %d requests, want %d; %v", what, w.endpoint.count(), n, err)
				}
			}
			expect("first", 1)
			expect("again", 0)
			w.keep("two", "changed")
			expect("another secret changed", 0)
			w.configure(&configv1.ServerSpec{Auth: a, Protocol: "legacy"})
			expect("something else of the server changed", 0)
			w.keep("one", "changed")
			expect("the secret changed", 1)
			a.Scopes = []string{"more"}
			w.configure(&configv1.ServerSpec{Auth: a})
			expect("the scopes changed", 1)
			w.lose("one")
			ask := w.ask()
			ask.Subject = jwt
			if b, err := w.resolve(ask); err == nil {
				t.Errorf("the token outlives its secret: %s", show(b))
			}
		})
	}
}

// Never again: tools that disappear when a token expires.
func TestTokensInUseAreRenewedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.resolver.Run(ctx) }()
		slow := func(ctx context.Context, n int, _ *egress.Request) (*egress.Answer, error) {
			select {
			case <-time.After(5 * time.Second):
				return minted(n, 300), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if _, err := w.resolve(w.ask()); err != nil {
			t.Fatal(err)
		}
		w.endpoint.set(slow)
		for range 60 { // ten minutes, a call every ten seconds
			time.Sleep(10 * time.Second)
			began := time.Now()
			if _, err := w.resolve(w.ask()); err != nil || time.Since(began) > 0 {
				t.Errorf("%v, after %v", err, time.Since(began))
			}
		}
		if n := w.endpoint.count(); n < 3 || n > 5 {
			t.Errorf("%d requests in ten minutes", n)
		}
		before := w.endpoint.count()
		time.Sleep(time.Hour) // nobody calls: at most the renewal for the last use
		if n := w.endpoint.count(); n > before+1 {
			t.Errorf("%d tokens were fetched for nobody", n-before)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A renewal that fails is tried again, and the old token serves until its end.
func TestARenewalThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
		go w.resolver.Run(t.Context()) //nolint:errcheck // nil after the test
		if _, err := w.resolve(w.ask()); err != nil {
			t.Fatal(err)
		}
		w.endpoint.set(always(status(503, ""), nil))
		for range 29 {
			time.Sleep(10 * time.Second)
			began := time.Now()
			if b, err := w.resolve(w.ask()); err != nil || b.Fields[0].Value != "Bearer "+token(1) || time.Since(began) > 0 {
				t.Fatalf("%s %v", show(b), err)
			}
		}
		if n := strings.Count(w.log.String(), "couldn't be renewed"); n < 1 || n > 3 {
			t.Errorf("%d lines in the log in two minutes:\n%s", n, w.log)
		}
		if n := w.endpoint.count(); n < 10 || n > 30 {
			t.Errorf("%d requests in two minutes", n)
		}
		w.endpoint.set(nil)
		time.Sleep(6 * time.Second)
		if b, err := w.resolve(w.ask()); err != nil || b.Fields[0].Value == "Bearer "+token(1) {
			t.Errorf("it isn't renewed: %s %v", show(b), err)
		}
		clean(t, "the log", w.log.String())
	})
}

// Run ends what it began.
func TestRunEndsItsRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &configv1.ServerSpec{Auth: machine()})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.resolver.Run(ctx) }()
		if _, err := w.resolve(w.ask()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		if _, err := w.resolve(w.ask()); err != nil {
			t.Fatal(err)
		}
		w.endpoint.set(silent)
		time.Sleep(92 * time.Second)
		synctest.Wait()
		if n := w.endpoint.count(); n != 2 {
			t.Fatalf("%d requests: nothing is being renewed", n)
		}
		began := time.Now()
		stop()
		if err := <-ended; err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

var _ credential.Doer = (*egress.Client)(nil)

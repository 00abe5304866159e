package credential_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func (w *world) exchanges(n int) {
	w.t.Helper()
	for i := range n {
		a := w.ask()
		a.Subject = fmt.Sprint("subject", i)
		if _, err := w.resolve(a); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestExchangedTokensAreBounded(t *testing.T) {
	w := newWorld(t, &configv1.ServerSpec{Auth: exchange()})
	w.exchanges(12_000)
	if _, _, n := w.resolver.Kept(); n > 10_000 || n < 9_000 {
		t.Errorf("%d exchanged tokens are kept", n)
	}
}

// What isn't used is forgotten, and so is what was made of a config or a secret that changed.
func TestWhatIsNotUsedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &configv1.ServerSpec{Auth: exchange()})
		go w.resolver.Run(t.Context()) //nolint:errcheck // nil after the test
		expect := func(what string, plans, owners, exchanged int) {
			t.Helper()
			synctest.Wait()
			if p, o, e := w.resolver.Kept(); p != plans || o != owners || e != exchanged {
				t.Errorf("%s: %d plans, %d owners, %d exchanged; want %d, %d, %d", what, p, o, e, plans, owners, exchanged)
			}
		}
		w.exchanges(50)
		expect("in use", 1, 1, 50)
		w.keep("one", "changed")
		w.exchanges(1)
		expect("another secret", 1, 1, 1)
		w.configure(&configv1.ServerSpec{Auth: exchange(), Protocol: "legacy"})
		w.exchanges(2)
		expect("another server of the same config", 2, 1, 2)
		time.Sleep(4 * time.Minute)
		expect("four minutes later", 0, 1, 2)
		time.Sleep(2 * time.Minute)
		expect("the tokens have ended", 0, 1, 0)
		time.Sleep(time.Hour)
		expect("nobody calls", 0, 0, 0)
		w.exchanges(1)
		expect("somebody calls", 1, 1, 1)
	})
}

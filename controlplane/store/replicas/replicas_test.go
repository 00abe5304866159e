package replicas_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/store/replicas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run counts until the returned function is called.
func run(t *testing.T, s *memstore.Store, name string, busy ...func() bool) (c *replicas.Count, stop func()) {
	t.Helper()
	cfg := replicas.Config{Store: s, Name: name}
	for _, b := range busy {
		cfg.Busy = b
	}
	c, err := replicas.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestTheLastNumberStaysWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		one, stop := run(t, s, "one")
		_, leave := run(t, s.Replica(), "two")
		synctest.Wait()
		if one.Now() != 2 {
			t.Fatalf("%d, want 2", one.Now())
		}
		s.SetDown()
		leave()
		time.Sleep(time.Minute) // of the test's own clock
		if one.Now() != 2 {
			t.Errorf("%d while the store is away, want 2 still", one.Now())
		}
		s.SetUp()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if one.Now() != 1 {
			t.Errorf("%d, want 1 again", one.Now())
		}
		stop()
	})
}

func TestNothingIsKnownBeforeTheStoreAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		s.SetDown()
		c, stop := run(t, s, "one")
		within, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Wait(within); err == nil || c.Now() != 1 {
			t.Errorf("known to be %d although the store is away", c.Now())
		}
		s.SetUp()
		if err := c.Wait(t.Context()); err != nil || c.Now() != 1 {
			t.Errorf("%d, %v", c.Now(), err)
		}
		stop()
	})
}

func TestWhoHasNothingToDoIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New()
		var busy atomic.Bool
		one, stop := run(t, s, "one")
		standby, leave := run(t, s.Replica(), "standby", busy.Load)
		check := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if one.Now() != want || standby.Now() != 2 {
				t.Errorf("%s: %d and %d, want %d and 2", when, one.Now(), standby.Now(), want)
			}
		}
		check("at the start", 1)
		busy.Store(true)
		time.Sleep(250 * time.Millisecond)
		check("once it has something to do", 2)
		busy.Store(false)
		time.Sleep(9 * time.Second)
		check("soon afterwards", 2)
		time.Sleep(time.Second + 250*time.Millisecond)
		check("later", 1)
		leave()
		stop()
	})
}

func TestAStoreIsNeeded(t *testing.T) {
	if _, err := replicas.New(replicas.Config{}); err == nil {
		t.Error("there is none")
	}
}

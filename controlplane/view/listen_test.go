package view_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hopgate/hopgate/controlplane/view"
)

func TestListenersHearOfEveryChangeOnceWithTheIndexAtIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := start(t, 1)
		var mu sync.Mutex
		var heard []string
		stop := c.Views().Listen(func(e view.Told) {
			mu.Lock()
			defer mu.Unlock()
			if e.Gap || e.Change == nil || e.Change.Revision == 0 {
				t.Errorf("heard %+v", e)
				return
			}
			heard = append(heard, e.Change.Objects[0].Name)
		})
		c.Put(server("x", "http://127.0.0.1:1/"))
		c.Put(server("y", "http://127.0.0.1:1/"))
		quiet()
		stop()
		c.Put(server("z", "http://127.0.0.1:1/"))
		quiet()
		if !slices.Equal(heard, []string{"x", "y"}) {
			t.Errorf("heard %q", heard)
		}
	})
}

func TestRemovalsAreConfirmedOnlyByTheirNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, mem, _ := start(t, 50)
		var heard []view.Told
		defer c.Views().Listen(func(e view.Told) { heard = append(heard, e) })()
		mem.Wipe()
		quiet()
		if held, ok := c.Views().ConfirmCount(49); held != 50 || ok || len(c.Views().Status().Held) != 50 {
			t.Errorf("49 confirmed: %d held, %v", held, ok)
		}
		if held, ok := c.Views().ConfirmCount(50); held != 50 || !ok || len(c.Views().Status().Held) != 0 {
			t.Errorf("50 confirmed: %d held, %v", held, ok)
		}
		quiet()
		if len(heard) != 1 || !heard[0].Gap {
			t.Errorf("of a store that lost everything was heard %+v; want one gap", heard)
		}
	})
}

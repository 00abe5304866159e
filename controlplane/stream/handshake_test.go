package stream_test

import (
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/fleet"
	"github.com/hopgate/hopgate/controlplane/stream"
	"github.com/hopgate/hopgate/controlplane/view"
)

// Of ten connections from one source, with one stream a second, the first four get their turn within 5 s; the others are closed at once: there is
// room for four to wait, and one place is for who comes from elsewhere.
func TestHandshakesArePacedAndThoseThatWouldBeTooLateAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		ledger, err := fleet.New(fleet.Config{Current: func(view.Scope) *view.View { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		s, err := stream.New(stream.Config{Views: c.Views(), Fleet: ledger, Replica: "r", NewStreams: 1})
		if err != nil {
			t.Fatal(err)
		}
		creds := s.Credentials(&tls.Config{}).Clone()
		began := time.Now()
		var wg sync.WaitGroup
		var begun, closed atomic.Int32
		for range 10 {
			ours, theirs := net.Pipe()
			theirs.Close()
			wg.Go(func() {
				_, _, err := creds.ServerHandshake(ours)
				switch crowded := err != nil && strings.Contains(err.Error(), "too many"); {
				case !crowded:
					begun.Add(1)
				case time.Since(began) == 0:
					closed.Add(1)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if begun.Load() != 4 || closed.Load() != 6 || time.Since(began) > 5*time.Second {
			t.Errorf("%d handshakes begun, %d closed at once, all over after %s", begun.Load(), closed.Load(), time.Since(began))
		}
	})
}

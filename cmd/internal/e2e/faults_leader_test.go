//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The load while leaders die.
const (
	fireWriters = 6
	fireReaders = 3
	fireObjects = 5
	// fireKills is how many leaders die at least, fireWrites how many writes are acknowledged.
	fireKills, fireWrites = 3, 100
	// firePace is the time between two deeds of one client.
	firePace = 15 * time.Millisecond
	// fireDown is how long a killed leader stays away, fireCalm how long it is left alone afterwards.
	fireDown, fireCalm = 1500 * time.Millisecond, 2500 * time.Millisecond
	// fireHurry is how long an impatient writer waits.
	fireHurry = 600 * time.Millisecond
	// waitsForIndex is how long an answer to a write waits for the replica's own view; a slower one may be read late.
	waitsForIndex = 2 * time.Second
)

// controlsOnEtcd is a real etcd of three nodes with two control planes, and a data plane for each.
func controlsOnEtcd(t *testing.T) ([]*member, []*control) {
	t.Helper()
	members := startEtcd(t)
	kek := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(kek, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	one := startControl(t, "control-1", nil, "--etcd", clients(members), "--kek-file", kek)
	two := startControl(t, "control-2", nil, "--etcd", clients(members), "--kek-file", kek)
	return members, []*control{one, two}
}

// TestOneHistoryWhileEtcdLeadersDie writes and reads five objects through two control planes while the leader of a real etcd of three is killed
// and started again, over and over.
//
// Writes are linearizable, and so is the answer to a lost race: both are planned from the store. There has to be one order of all
// of them, with those of unknown outcome anywhere or nowhere, that ends at what both control planes show at last. Reads come from each
// replica's own view, which may lag; so of reads while others write only this is asked: they show what somebody wrote, they never go back
// on one replica, and one replica shows a client what that client wrote there before.
func TestOneHistoryWhileEtcdLeadersDie(t *testing.T) {
	t.Parallel() // most of it is waiting
	members, controls := controlsOnEtcd(t)
	startProxy(t, "proxy-1", nil, []*control{controls[0]})
	startProxy(t, "proxy-2", nil, []*control{controls[1]})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := newHistory()
	var wg sync.WaitGroup
	for i := range fireWriters + fireReaders {
		c := &shooter{id: i, controls: controls, h: h, wrote: map[string]string{}}
		wg.Go(func() {
			if err := c.run(ctx); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	kills := killLeaders(t, members, soakFor(t, 20*time.Second, time.Hour), h.tells)
	cancel()
	wg.Wait()
	sameRevision(t, controls...)
	sameDigest(t, controls...)
	for i, c := range controls {
		h.last(t, i, c)
	}
	h.report(t, kills)
	h.matches(t, controls)
	began := time.Now()
	if got := h.check(5 * time.Minute); got != porcupine.Ok {
		t.Errorf("no order of the writes explains every answer: %s", got)
	}
	t.Logf("an order of all writes was looked for during %s", time.Since(began).Round(time.Millisecond))
}

// killLeaders kills whoever leads, starts it again, and so on, until the time is over and enough has happened, or a minute later. It leaves the
// cluster whole.
func killLeaders(t *testing.T, members []*member, limit time.Duration, enough func(kills int) bool) (kills int) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end) || !enough(kills) && time.Since(end) < time.Minute; {
		<-time.After(fireCalm)
		var m *member
		eventually(t, 30*time.Second, "etcd has a leader", func() (err error) { m, err = leader(t, members); return err })
		m.kill()
		kills++
		<-time.After(fireDown)
		m.running = start(t, m.program)
	}
	eventually(t, 30*time.Second, "etcd has a leader again", func() error { _, err := leader(t, members); return err })
	return kills
}

// shooter is one client: it reads or writes, objects and control planes at random.
type shooter struct {
	id       int
	controls []*control
	h        *history
	sent     int
	wrote    map[string]string // replica and object to the value last written there, if it has to be seen there
}

func (s *shooter) run(ctx context.Context) error {
	tick := time.NewTicker(firePace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		object, control := fmt.Sprintf("shared_%d", rand.N(fireObjects)), rand.N(len(s.controls))
		if s.id >= fireWriters {
			control = s.id % len(s.controls)
		}
		was, ok, err := s.read(object, control)
		if err == nil && s.id < fireWriters {
			err = s.write(object, rand.N(len(s.controls)), was, ok && rand.N(3) > 0)
		}
		if err != nil {
			return err
		}
	}
}

// read reads an object; ok means that it is there.
func (s *shooter) read(object string, control int) (was stored, ok bool, err error) {
	after := s.wrote[seat(control, object)]
	if err := s.controls[control].get("/v1/servers/"+object, &was); err != nil {
		if after == "" && strings.HasPrefix(err.Error(), "404") {
			return was, false, nil
		}
		return was, false, fmt.Errorf("read %s after %q was written: %w", object, after, err)
	}
	s.h.see(sight{s.id, control, object, was.Labels["v"], after, s.h.now()})
	return was, true, s.h.learn(was.Meta.Etag, was.Labels["v"])
}

// patience is how long it waits for the answer to a write; every second writer hangs up while a leader is missed, and never learns more.
func (s *shooter) patience() time.Duration {
	if s.id%2 == 0 {
		return fireHurry
	}
	return quick.Timeout
}

func seat(control int, object string) string { return fmt.Sprint(control, object) }

// write writes a fresh value, if it is conditional only over what was read.
func (s *shooter) write(object string, control int, was stored, conditional bool) error {
	s.sent++
	d := deed{client: s.id, object: object, conditional: conditional, value: fmt.Sprintf("c%d-%d", s.id, s.sent), control: control, called: s.h.now()}
	etag := ""
	if conditional {
		d.expect, etag = was.Labels["v"], was.Meta.Etag
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.patience())
	defer cancel()
	status, now, no, err := s.controls[control].putLabels(ctx, object, d.value, etag, map[string]string{"v": d.value})
	d.ended = s.h.now()
	switch {
	case err != nil, status == http.StatusGatewayTimeout, no.reason() == "OUTCOME_UNKNOWN":
		d.outcome = unknown
	case status == http.StatusOK:
		d.outcome = acknowledged
		if err := s.h.learn(now.Meta.Etag, d.value); err != nil {
			return err
		}
		if delete(s.wrote, seat(control, object)); d.ended-d.called < waitsForIndex {
			s.wrote[seat(control, object)] = d.value
		}
	case status == http.StatusPreconditionFailed && conditional && no.reason() == "STALE_ETAG":
		d.outcome, d.now = lost, no.Details[0].Metadata["current_etag"]
	case status == http.StatusServiceUnavailable, status == http.StatusConflict && no.reason() == "CONTENTION":
		d.outcome = refused
	default:
		return fmt.Errorf("write %s: status %d: %+v", object, status, no)
	}
	s.h.add(d)
	return nil
}

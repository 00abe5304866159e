//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// rival is one of the writers of one object.
type rival struct {
	name     string
	controls []*control // taken in turn
	object   string

	won, lost int
	refused   int              // writes that changed nothing, as the answer says: a store that looks for a leader
	sent      map[string]int64 // etags it was answered with, to generations
	told      []loss
	slowest   time.Duration
}

// loss is an answer to a lost race.
type loss struct {
	after int64  // generation of the etag that was sent
	now   string // etag in the answer
}

// TestThreeWritersOfOneObjectLoseNoUpdate has two operators and a bot count on one object through two control planes, each as fast as it can:
// read, add one, write with the etag that was read.
func TestThreeWritersOfOneObjectLoseNoUpdate(t *testing.T) {
	t.Parallel() // most of it is waiting
	_, controls := controlsOnEtcd(t)
	const object = "counter"
	first := &rival{name: "first", controls: controls, object: object, sent: map[string]int64{}}
	if err := first.write(0, stored{}, map[string]string{"n": "0"}); err != nil {
		t.Fatal(err)
	}
	sameRevision(t, controls...)
	all := []*rival{{name: "operator-1", controls: controls[:1]}, {name: "operator-2", controls: controls[1:]}, {name: "bot", controls: controls}}
	ctx, cancel := context.WithTimeout(t.Context(), soakFor(t, 8*time.Second, time.Minute))
	defer cancel()
	var wg sync.WaitGroup
	for _, r := range all {
		r.object, r.sent = object, map[string]int64{}
		wg.Go(func() {
			if err := r.count(ctx); err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
		})
	}
	wg.Wait()
	sameRevision(t, controls...)
	countedRight(t, controls, append(all, first), object)
}

// count adds one again and again until ctx ends.
func (r *rival) count(ctx context.Context) error {
	for i := 0; ctx.Err() == nil; i++ {
		var was stored
		if err := r.controls[i%len(r.controls)].get("/v1/servers/"+r.object, &was); err != nil {
			return err
		}
		labels := maps.Clone(was.Labels)
		for _, l := range []string{"n", r.name} {
			n, err := strconv.Atoi("0" + labels[l])
			if err != nil {
				return err
			}
			labels[l] = strconv.Itoa(n + 1)
		}
		if err := r.write(i, was, labels); err != nil {
			return err
		}
	}
	return nil
}

func (r *rival) write(i int, was stored, labels map[string]string) error {
	began := time.Now()
	status, now, no, err := r.controls[i%len(r.controls)].putLabels(context.Background(), r.object, labels["n"], was.Meta.Etag, labels)
	r.slowest = max(r.slowest, time.Since(began))
	const aborted = 10 // the code of a lost race
	switch {
	case err != nil:
		return err
	case status == http.StatusOK:
		r.won++
		r.sent[now.Meta.Etag] = now.Meta.Generation
		return nil
	case status == http.StatusPreconditionFailed && no.Code == aborted && no.reason() == "STALE_ETAG":
		r.lost++
		r.told = append(r.told, loss{was.Meta.Generation, no.Details[0].Metadata["current_etag"]})
		return nil
	case status == http.StatusServiceUnavailable && no.reason() != "OUTCOME_UNKNOWN":
		r.refused++
		return nil
	}
	return fmt.Errorf("status %d: %+v", status, no)
}

// countedRight checks that every success counts once, that every loser was told an etag that was the object's after the one it had sent, and
// that the log leads to the head.
func countedRight(t *testing.T, controls []*control, all []*rival, object string) {
	t.Helper()
	etags, won, lost := map[string]int64{}, 0, 0
	for _, r := range all {
		maps.Copy(etags, r.sent)
		won, lost = won+r.won, lost+r.lost
		t.Logf("%s: %d writes, %d lost races, %d refused, slowest write %s", r.name, r.won, r.lost, r.refused, r.slowest.Round(time.Millisecond))
	}
	if len(etags) != won || won < 4 || lost == 0 {
		t.Errorf("%d etags of %d writes, %d lost races", len(etags), won, lost)
	}
	for _, r := range all {
		for _, l := range r.told {
			if g, ok := etags[l.now]; !ok || g <= l.after {
				t.Errorf("%s lost a race with an etag of generation %d and was told %q, of generation %d", r.name, l.after, l.now, g)
			}
		}
	}
	for _, c := range controls {
		var head stored
		if err := c.get("/v1/servers/"+object, &head); err != nil {
			t.Fatal(err)
		}
		if head.Labels["n"] != strconv.Itoa(won-1) {
			t.Errorf("%s: the counter is at %s after %d counts", c.Name, head.Labels["n"], won-1)
		}
		for _, r := range all {
			if r.name != "first" && head.Labels[r.name] != strconv.Itoa(r.won) {
				t.Errorf("%s: %s counted %d times, the object has %s", c.Name, r.name, r.won, head.Labels[r.name])
			}
		}
		for i, n := range c.replay(t, object) {
			if n != strconv.Itoa(i) {
				t.Fatalf("%s: change %d wrote %s", c.Name, i, n)
			}
		}
	}
}

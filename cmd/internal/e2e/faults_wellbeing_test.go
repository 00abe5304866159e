//go:build e2e && linux

package e2e

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// What has to be true of a fleet whenever everybody is back.

// vitals are what one process that was never killed uses.
type vitals struct {
	goroutines, heap float64
}

// allWell waits until the fleet is at one state, and checks what must be true then.
func (o *ordeal) allWell(w *operators) {
	o.t.Helper()
	began := time.Now()
	eventually(o.t, settles, "nothing is staged any more", o.nothingStaged)
	eventually(o.t, settles, "the fleet holds one set", o.oneSet)
	o.t.Logf("%s: %d faults so far; %s; all at one digest %s after the last came back", time.Since(o.began).Round(time.Second), len(o.schedule), w,
		time.Since(began).Round(time.Millisecond))
	for _, c := range o.controls {
		c.replayAll(o.t)
	}
	for name := range o.proxies {
		if f := o.flows[name]; f != nil && f.first.Load() != nil {
			o.untouched(name)
		}
	}
	now := vitalsOf(o.t, o.controls[0])
	o.health = append(o.health, now)
	o.t.Logf("control-1: %.0f goroutines, %.1f MiB of heap in use", now.goroutines, now.heap/(1<<20))
}

func (o *ordeal) nothingStaged() error {
	list, err := o.controls[0].client(o.t).ListRollouts(o.t.Context(), &adminv1.ListRequest{PageSize: 50})
	if err != nil {
		return err
	}
	for _, r := range list.GetRollouts() {
		if slices.Contains([]string{"queued", "rolling", "paused", "aborting"}, r.GetState()) {
			return fmt.Errorf("%s is %s at step %d: %s", r.GetChange(), r.GetState(), r.GetStep(), r.GetReason())
		}
	}
	return nil
}

// oneSet is nil when both control planes are at one revision and every data plane and the relay hold the same set.
func (o *ordeal) oneSet() error {
	seen, revisions := map[string][]byte{}, map[int64]bool{}
	for i, c := range append([]*control{o.relay}, o.controls...) {
		fleet, err := c.client(o.t).ListNodes(o.t.Context(), &adminv1.ListRequest{})
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		if i > 0 {
			revisions[fleet.GetRevision()] = true
		}
		for _, n := range fleet.GetNodes() {
			if !n.GetConnected() {
				continue
			}
			if !n.GetInSync() {
				return fmt.Errorf("%s is behind on %s", n.GetNode(), c.Name)
			}
			seen[n.GetNode()] = n.GetDigest()
		}
	}
	for _, name := range []string{"relay-eu", "home-1", "home-2", "eu-1", "eu-2"} {
		if len(seen[name]) == 0 || !bytes.Equal(seen[name], seen["home-1"]) {
			return fmt.Errorf("%s holds %x, home-1 %x", name, seen[name], seen["home-1"])
		}
	}
	if len(revisions) != 1 {
		return fmt.Errorf("the control planes are at revisions %v", revisions)
	}
	return nil
}

// replayAll walks the whole change log: each change begins where the one before it of the same object ended, and at its end are the heads.
func (c *control) replayAll(t *testing.T) {
	t.Helper()
	last := map[string][]byte{}
	n := 0
	for _, change := range c.changes(t) {
		for _, o := range change.Objects {
			if o.Kind != "server" {
				continue
			}
			if !bytes.Equal(last[o.Name], o.Before) {
				t.Errorf("%s: change %s (%s) begins %s at %x; the one before ended at %x", c.Name, change.ID, change.Message, o.Name, o.Before, last[o.Name])
			}
			if last[o.Name] = o.After; len(o.After) == 0 {
				delete(last, o.Name)
			}
			n++
		}
	}
	var list struct {
		Servers []struct {
			Name string
			Meta struct{ Etag string }
		}
	}
	ok(t, c.get("/v1/servers?page_size=1000", &list))
	for _, s := range list.Servers {
		etag, err := base64.RawURLEncoding.DecodeString(s.Meta.Etag)
		if err != nil || len(last[s.Name]) == 0 || !bytes.HasSuffix(etag, last[s.Name]) {
			t.Errorf("%s: %s has etag %x (%v), the log ends at %x", c.Name, s.Name, etag, err, last[s.Name])
		}
	}
	if len(list.Servers) != len(last) || n == 0 {
		t.Errorf("%s: %d servers, by the log of %d writes %d", c.Name, len(list.Servers), n, len(last))
	}
}

func vitalsOf(t *testing.T, c *control) vitals {
	t.Helper()
	_, err := c.send("GET", "/debug/pprof/heap?gc=1", "", "")
	ok(t, err)
	return vitals{metric(t, c.Admin, "go_goroutines"), metric(t, c.Admin, "go_memstats_heap_inuse_bytes")}
}

// report tells the figures and judges growth, when there are enough looks to judge by.
func (o *ordeal) report() {
	o.t.Helper()
	for name := range o.proxies {
		o.untouched(name)
	}
	o.t.Logf("%d faults in %s: %v; %d calls", len(o.schedule), time.Since(o.began).Round(time.Second), o.faults, o.calls)
	if len(o.schedule) < 3 || o.calls < 1000 {
		o.t.Error(errors.New("too little happened"))
	}
	quarter := max(len(o.health)/4, 1)
	a, b := medianOf(o.health[:quarter]), medianOf(o.health[len(o.health)-quarter:])
	o.t.Logf("control-1 over %d looks: goroutines %.0f to %.0f, heap in use %.1f to %.1f MiB", len(o.health),
		a.goroutines, b.goroutines, a.heap/(1<<20), b.heap/(1<<20))
	if len(o.health) >= 8 && (b.goroutines > 1.2*a.goroutines+50 || b.heap > 1.2*a.heap+8<<20) {
		o.t.Errorf("it grew: %v", o.health)
	}
}

func medianOf(all []vitals) vitals {
	g, h := []float64{}, []float64{}
	for _, v := range all {
		g, h = append(g, v.goroutines), append(h, v.heap)
	}
	slices.Sort(g)
	slices.Sort(h)
	return vitals{g[len(g)/2], h[len(h)/2]}
}

//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// last reads every object once more, now that nobody writes: these reads are part of the order.
func (h *history) last(t *testing.T, i int, c *control) {
	t.Helper()
	for n := range fireObjects {
		d := deed{client: fireWriters + fireReaders + i, object: fmt.Sprintf("shared_%d", n), outcome: observed, control: i, called: h.now()}
		var head stored
		if err := c.get("/v1/servers/"+d.object, &head); err != nil {
			t.Fatal(err)
		}
		d.read, d.ended = head.Labels["v"], h.now()
		h.add(d)
	}
}

// outcomes are how many deeds ended how.
func (h *history) outcomes() map[outcome]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := map[outcome]int{}
	for _, d := range h.deeds {
		counts[d.outcome]++
	}
	return counts
}

// tells reports whether enough has happened to prove something.
func (h *history) tells(kills int) bool {
	counts := h.outcomes()
	return kills >= fireKills && counts[acknowledged] >= fireWrites && counts[lost] > 0 && counts[unknown] > 0
}

// report tells figures, and fails when the journey was too quiet to prove anything.
func (h *history) report(t *testing.T, kills int) {
	t.Helper()
	counts, ends, slowest, named := h.outcomes(), []time.Duration{0}, time.Duration(0), 0
	for _, d := range h.deeds {
		slowest = max(slowest, d.ended-d.called)
		if d.outcome == acknowledged {
			ends = append(ends, d.ended)
		}
		if d.outcome == lost && h.values[d.now] != "" {
			named++
		}
	}
	slices.Sort(ends)
	gap := time.Duration(0)
	for i := 1; i < len(ends); i++ {
		gap = max(gap, ends[i]-ends[i-1])
	}
	t.Logf("%d leaders killed; %d writes acknowledged, %d races lost (%d to a value that is known), %d refused, %d of unknown outcome; %d reads; slowest write %s, longest time without a write %s",
		kills, counts[acknowledged], counts[lost], named, counts[refused], counts[unknown], len(h.reads), slowest.Round(time.Millisecond), gap.Round(time.Millisecond))
	if !h.tells(kills) {
		t.Errorf("too little happened: %d kills, %v", kills, counts)
	}
}

// matches compares what the clients know with the change log: both control planes have the same one, it has every acknowledged write
// once and no refused or lost one, and the reads fit to its order.
func (h *history) matches(t *testing.T, controls []*control) {
	t.Helper()
	place := map[string]int{} // of each value in the log of its object, from 1
	for n := range fireObjects {
		object := fmt.Sprintf("shared_%d", n)
		values := controls[0].replay(t, object)
		if !slices.Equal(values, controls[1].replay(t, object)) {
			t.Errorf("%s: the control planes tell different histories", object)
		}
		for i, v := range values {
			if place[v] != 0 {
				t.Errorf("%s: %s was stored twice", object, v)
			}
			place[v] = i + 1
		}
	}
	happened := 0
	for _, d := range h.deeds {
		switch at := place[d.value]; {
		case d.outcome == acknowledged && at == 0:
			t.Errorf("an acknowledged write is lost: %+v", d)
		case (d.outcome == lost || d.outcome == refused) && at != 0:
			t.Errorf("a write happened that was refused: %+v", d)
		case d.outcome == unknown && at != 0:
			happened++
		}
	}
	t.Logf("%d changes in the log; %d writes of unknown outcome happened", len(place), happened)
	h.readsFit(t, place)
}

// readsFit checks the reads that were made while others wrote.
func (h *history) readsFit(t *testing.T, place map[string]int) {
	t.Helper()
	newest := map[string]int{} // per client, replica and object
	for _, s := range h.reads {
		key := fmt.Sprint(s.client, s.control, s.object)
		switch at := place[s.value]; {
		case at == 0:
			t.Errorf("a read showed what nobody stored: %+v", s)
		case at < newest[key]:
			t.Errorf("a read went back: %+v", s)
		case at < place[s.after]:
			t.Errorf("a read didn't show the client's own write: %+v", s)
		default:
			newest[key] = at
		}
	}
}

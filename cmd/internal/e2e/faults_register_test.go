//go:build e2e

package e2e

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// outcome is what a caller knows of its write.
type outcome int

const (
	acknowledged outcome = iota
	lost                 // refused: the object was no longer as expected
	refused              // answered that nothing was changed
	unknown              // it may have happened, may still, or never
	observed             // a read once nobody writes any more
)

// deed is one write, or one read after the last write. Every write has a value of its own.
type deed struct {
	client        int
	object        string
	conditional   bool
	expect        string // value the object is to have, if conditional
	value         string // value to write
	outcome       outcome
	now           string // etag that a lost race was answered with
	read          string // value that was observed
	called, ended time.Duration
	control       int
}

// history is what all clients did and heard, in no particular order.
type history struct {
	began time.Time

	mu     sync.Mutex
	deeds  []deed
	values map[string]string // etag to value, from every answer that had both
	reads  []sight
}

// sight is one read while others write.
type sight struct {
	client, control int
	object, value   string
	after           string // value that this client wrote through this control plane before, if that has to be seen
	ended           time.Duration
}

func newHistory() *history { return &history{began: time.Now(), values: map[string]string{}} }

func (h *history) now() time.Duration { return time.Since(h.began) }

func (h *history) add(d deed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deeds = append(h.deeds, d)
}

// learn remembers which value an etag stands for, and objects when it stood for another.
func (h *history) learn(etag, value string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, ok := h.values[etag]; ok && old != value {
		return fmt.Errorf("etag %s stands for %q and for %q", etag, old, value)
	}
	h.values[etag] = value
	return nil
}

func (h *history) see(s sight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = append(h.reads, s)
}

// register is one object as a register with compare-and-set: the state is its value. A write of unknown outcome has no end: one that
// never happened takes its place after everything else, where it disturbs nobody.
var register = porcupine.Model{
	Partition: perObject,
	Init:      func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		was, d := state.(string), input.(deed)
		switch {
		case d.outcome == observed:
			return was == d.read, was
		case d.outcome == lost:
			return was != d.expect && (d.now == "" || was == d.now), was
		case d.conditional && was != d.expect:
			return d.outcome == unknown, was
		}
		return true, d.value
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}

func perObject(all []porcupine.Operation) [][]porcupine.Operation {
	of := map[string][]porcupine.Operation{}
	for _, op := range all {
		name := op.Input.(deed).object
		of[name] = append(of[name], op)
	}
	out := [][]porcupine.Operation{}
	for _, ops := range of {
		out = append(out, ops)
	}
	return out
}

// check says whether there is an order in which every answer is right. Refused writes have no place in it: the change log shows that they
// never happened.
func (h *history) check(limit time.Duration) porcupine.CheckResult {
	ops := []porcupine.Operation{}
	for _, d := range h.deeds {
		end := int64(d.ended)
		switch d.outcome {
		case refused:
			continue
		case unknown:
			end = math.MaxInt64
		case lost:
			d.now = h.values[d.now] // unknown to everybody: only that it isn't the expected one
		}
		ops = append(ops, porcupine.Operation{ClientId: d.client, Input: d, Call: int64(d.called), Return: end})
	}
	return porcupine.CheckOperationsTimeout(register, ops, limit)
}

func TestTheRegisterTellsALostUpdate(t *testing.T) {
	write := func(at int, d deed) deed {
		d.object, d.called, d.ended = "a", time.Duration(at), time.Duration(at+1)
		return d
	}
	first := write(0, deed{value: "1"})
	for name, c := range map[string]struct {
		deeds []deed
		want  porcupine.CheckResult
	}{
		"one after the other":                {[]deed{first, write(2, deed{conditional: true, expect: "1", value: "2"}), write(4, deed{outcome: observed, read: "2"})}, porcupine.Ok},
		"two from one":                       {[]deed{first, write(2, deed{conditional: true, expect: "1", value: "2"}), write(4, deed{conditional: true, expect: "1", value: "3"})}, porcupine.Illegal},
		"an acknowledged one is gone":        {[]deed{first, write(2, deed{value: "2"}), write(4, deed{outcome: observed, read: "1"})}, porcupine.Illegal},
		"an open one happened later":         {[]deed{first, write(2, deed{value: "2", outcome: unknown}), write(4, deed{outcome: observed, read: "1"}), write(6, deed{outcome: observed, read: "2"})}, porcupine.Ok},
		"an open one never happened":         {[]deed{first, write(2, deed{value: "2", outcome: unknown}), write(4, deed{outcome: observed, read: "1"})}, porcupine.Ok},
		"a race lost to nobody":              {[]deed{first, write(2, deed{conditional: true, expect: "1", value: "2", outcome: lost})}, porcupine.Illegal},
		"a race lost to an etag of the past": {[]deed{first, write(2, deed{value: "2"}), write(4, deed{conditional: true, expect: "0", value: "3", outcome: lost, now: "one"})}, porcupine.Illegal},
	} {
		h := newHistory()
		h.deeds, h.values["one"] = c.deeds, "1"
		if got := h.check(time.Second); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

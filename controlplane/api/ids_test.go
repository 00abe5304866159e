package api

import (
	"testing"
	"time"
)

func TestChangeIDsSortAsMade(t *testing.T) {
	g := newIDs(nil)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	last := ""
	for i := range 1000 {
		at := now
		if i > 500 {
			at = now.Add(-time.Hour) // the clock was set back
		}
		id, err := g.next(at, "")
		if err != nil || id <= last {
			t.Fatalf("%d: %s after %s: %v", i, id, last, err)
		}
		last = id
	}
}

func TestChangeIDsSortAboveTheNewestStored(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ahead, err := newIDs(nil).next(now.Add(time.Minute), "")
	if err != nil {
		t.Fatal(err)
	}
	g := newIDs(nil)
	for range 100 {
		id, err := g.next(now, ahead)
		if err != nil || id <= ahead {
			t.Fatalf("%s after %s: %v", id, ahead, err)
		}
		ahead = id
	}
}

func TestEtagsOfOtherMakeAreRefused(t *testing.T) {
	good := version{revision: 7}.String()
	if v, err := parseEtag(good); err != nil || v.revision != 7 {
		t.Errorf("%v %v", v, err)
	}
	for _, s := range []string{"", "x", good + "A", good[1:], "////", "AA"} {
		if v, err := parseEtag(s); err == nil {
			t.Errorf("%q: %v", s, v)
		}
	}
}

package policy

import (
	"cmp"
	"math"
	"slices"
	"time"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

const (
	// smooth is the time constant of the average: what it says is about a second's worth.
	smooth = float64(500 * time.Millisecond)
	// shortest is the least time that is measured.
	shortest = int64(100 * time.Millisecond)
	// perMessage and messages bound what is told at once.
	perMessage = 1000
	messages   = 10
)

// report is what is known and was told of one bucket's demand.
type report struct {
	rate   float64 // calls a second
	flying float64 // calls that want to be in flight
	echo   bool    // the share was named anew
	owed   bool    // something is to be told

	told telling
}

// telling is what a LimitDemand says.
type telling struct{ rate, flying, share int64 }

// Demand returns what is new since the last call, in messages of at most 1,000 limits: demand that changed, and shares that came in force. It
// is to be called every half second while a control plane listens. With all it returns everything a control plane needs that hears of this
// data plane for the first time; its last entry has an empty name and says the default share, or -1 when none was ever named.
//
// A call that several limits had to let pass counts for each of them, or only for the one that refused it.
func (l *Limits) Demand(all bool) []*syncv1.Demand {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	if now-l.swept > sweepEvery {
		l.sweepLocked(now)
	}
	elapsed := now - l.measured
	if elapsed >= shortest {
		l.measured = now
	}
	var news []*bucket
	l.buckets.each(func(b *bucket) {
		if elapsed >= shortest {
			b.measure(float64(elapsed))
		}
		say := b.say(l)
		b.report.owed = b.report.differs(say)
		if b.report.owed || all && (say.rate > 0 || say.flying > 0 || b.share.Load() >= 0) {
			news = append(news, b)
		}
	})
	return l.tellLocked(news, all)
}

// measure takes in what came since the last time.
func (b *bucket) measure(elapsed float64) {
	r := &b.report
	offered, crowded, peak := b.offered.Swap(0), b.crowded.Swap(0), b.peak.Swap(b.flying.Load())
	if offered == 0 && r.rate == 0 && peak == 0 && r.flying == 0 {
		return
	}
	fade := math.Exp(-elapsed / smooth)
	r.rate = r.rate*fade + float64(offered)*float64(second)/elapsed*(1-fade)
	r.flying = max(float64(peak+crowded), r.flying*fade)
	if r.rate < 0.01 {
		r.rate = 0
	}
	if r.flying < 0.5 {
		r.flying = 0
	}
}

// say is what is to be told now; a part of the limit that isn't set has no demand.
//
// While more calls are in flight than the share allows (it was lowered a moment ago) the share in force is what they take.
func (b *bucket) say(l *Limits) telling {
	t := telling{share: b.portion(l)}
	limit := b.limit.Load()
	if limit == nil {
		return t
	}
	if limit.Rate > 0 {
		t.rate = int64(b.report.rate * 1000)
	}
	if limit.Concurrency > 0 {
		t.flying = int64(math.Ceil(b.report.flying))
		if n := b.flying.Load(); n > allowed(limit, t.share) {
			t.share = min(whole, max(t.share, (n*whole+int64(limit.Concurrency)-1)/int64(limit.Concurrency)))
		}
	}
	return t
}

// differs reports whether t is worth telling: another share or number of calls in flight, or a rate that moved by two percent.
func (r *report) differs(t telling) bool {
	moved := max(t.rate-r.told.rate, r.told.rate-t.rate)
	return r.echo || t.flying != r.told.flying || t.rate != r.told.rate && (t.rate == 0 || moved*50 >= r.told.rate) ||
		t.share != r.told.share && (t.rate > 0 || t.flying > 0)
}

// tellLocked makes messages: shares that were named first, then by rate.
func (l *Limits) tellLocked(news []*bucket, all bool) (out []*syncv1.Demand) {
	slices.SortFunc(news, func(a, b *bucket) int {
		if a.report.echo != b.report.echo {
			if a.report.echo {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.report.rate, a.report.rate), cmp.Compare(a.id, b.id))
	})
	if !all {
		news = news[:min(len(news), perMessage*messages)]
	}
	var entries []*syncv1.LimitDemand
	for _, b := range news {
		t := b.say(l)
		b.report.told, b.report.echo, b.report.owed = t, false, false
		entries = append(entries, &syncv1.LimitDemand{Limit: b.id, RateMilli: t.rate, InFlight: int32(min(t.flying, math.MaxInt32)), SharePpm: int32(t.share)})
	}
	if all || l.echo {
		share := int32(follows)
		if l.named {
			share = int32(l.standard.Load())
		}
		l.echo = false
		entries = append(entries, &syncv1.LimitDemand{SharePpm: share})
	}
	for part := range slices.Chunk(entries, perMessage) {
		out = append(out, &syncv1.Demand{Limits: part})
	}
	return out
}

// SetShares brings shares in force. What isn't named keeps its share; a share below 0 means the default from now on.
func (l *Limits) SetShares(s *syncv1.Shares) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	for _, x := range s.GetLimits() {
		if x.GetLimit() == "" {
			continue
		}
		b := l.makeLocked(x.GetLimit(), now)
		b.share.Store(min(max(int64(x.GetSharePpm()), follows), whole))
		b.report.echo, b.report.owed = true, true
	}
	if d := s.GetDefaultPpm(); d > 0 {
		l.standard.Store(min(int64(d), whole))
		l.named, l.echo = true, true
	}
}

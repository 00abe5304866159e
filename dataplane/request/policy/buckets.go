package policy

import (
	"hash/maphash"
	"maps"
	"sync/atomic"
	"time"
)

const (
	// shards is how many parts the map of buckets has: a new bucket copies one of them.
	shards = 1024
	// mostBuckets bounds them: about 20 MB.
	mostBuckets = 100_000
	// idleAfter is when a bucket isn't in use any more. It has its whole burst again by then, unless its rate is below six an hour.
	idleAfter = int64(10 * time.Minute)
	// sweepEvery is how often idle buckets are dropped.
	sweepEvery = int64(time.Minute)
)

// buckets is a map by limit id that is read without a lock. Whoever writes holds Limits.mu.
type buckets struct {
	seed  maphash.Seed
	parts *[shards]atomic.Pointer[map[string]*bucket]
	most  int // read-only
	count int // guarded by Limits.mu
	turn  int // part in which the next victim is sought; guarded by Limits.mu
}

func newBuckets() buckets {
	return buckets{seed: maphash.MakeSeed(), most: mostBuckets, parts: new([shards]atomic.Pointer[map[string]*bucket])}
}

func (m *buckets) part(id string) *atomic.Pointer[map[string]*bucket] {
	return &m.parts[maphash.String(m.seed, id)%shards]
}

func (m *buckets) get(id string) *bucket {
	if p := m.part(id).Load(); p != nil {
		return (*p)[id]
	}
	return nil
}

func (m *buckets) put(b *bucket) {
	part := m.part(b.id)
	next := map[string]*bucket{b.id: b}
	if p := part.Load(); p != nil {
		maps.Copy(next, *p)
	}
	part.Store(&next)
	m.count++
}

// drop forgets the buckets of a part that are done.
func (m *buckets) drop(part *atomic.Pointer[map[string]*bucket], done func(*bucket) bool) {
	p := part.Load()
	if p == nil {
		return
	}
	var gone int
	for _, b := range *p {
		if done(b) {
			gone++
		}
	}
	if gone == 0 {
		return
	}
	next := make(map[string]*bucket, len(*p)-gone)
	for id, b := range *p {
		if gone > 0 && done(b) {
			gone--
			continue
		}
		next[id] = b
	}
	m.count -= len(*p) - len(next)
	part.Store(&next)
}

// each visits every bucket.
func (m *buckets) each(visit func(*bucket)) {
	for i := range m.parts {
		if p := m.parts[i].Load(); p != nil {
			for _, b := range *p {
				visit(b)
			}
		}
	}
}

// bucket returns the bucket of a limit; it is made when there is none.
func (l *Limits) bucket(id string, now int64) *bucket {
	if b := l.buckets.get(id); b != nil {
		return b
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.makeLocked(id, now)
}

func (l *Limits) makeLocked(id string, now int64) *bucket {
	if b := l.buckets.get(id); b != nil {
		return b
	}
	if now-l.swept > sweepEvery || l.buckets.count >= l.buckets.most {
		l.sweepLocked(now)
	}
	b := &bucket{id: id}
	b.share.Store(follows)
	b.used.Store(now)
	if l.buckets.count < l.buckets.most || l.evictLocked() {
		l.buckets.put(b)
	}
	return b
}

// sweepLocked drops buckets that are idle, with their demand told, and have no share of their own: that would be lost.
func (l *Limits) sweepLocked(now int64) {
	if now-l.swept < second {
		return
	}
	l.swept = now
	for i := range l.buckets.parts {
		l.buckets.drop(&l.buckets.parts[i], func(b *bucket) bool {
			return now-b.used.Load() > idleAfter && b.share.Load() == follows && b.flying.Load() == 0 && !b.report.owed
		})
	}
}

// evictLocked makes room for one more bucket: of some, the one that wasn't used for longest goes, with its share. It finds none only when
// each has calls in flight; the new bucket is then not kept.
func (l *Limits) evictLocked() bool {
	for range shards {
		l.buckets.turn = (l.buckets.turn + 1) % shards
		part := &l.buckets.parts[l.buckets.turn]
		p := part.Load()
		if p == nil {
			continue
		}
		var oldest *bucket
		for _, b := range *p {
			if b.flying.Load() == 0 && (oldest == nil || b.used.Load() < oldest.used.Load()) {
				oldest = b
			}
		}
		if oldest != nil {
			l.buckets.drop(part, func(b *bucket) bool { return b == oldest })
			return true
		}
	}
	return false
}

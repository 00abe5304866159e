package confset

import (
	"cmp"
	"slices"
)

// Delta is what leads from one set to another, ordered by kind and name.
type Delta struct {
	Upserts  []Object // new or changed
	Removals []Key    // gone
}

// Empty reports whether the delta changes nothing.
func (d Delta) Empty() bool { return len(d.Upserts) == 0 && len(d.Removals) == 0 }

// Diff returns the delta from one set to another. It skips groups and buckets whose digests are equal.
func Diff(from, to *Set) Delta {
	var d Delta
	for i := range bucketCount {
		if i%fanout == 0 && from.groups[i/fanout].sum() == to.groups[i/fanout].sum() {
			continue
		}
		if a, b := from.bucket(i), to.bucket(i); a.sum() != b.sum() {
			d.merge(a.all(), b.all())
		}
	}
	slices.SortFunc(d.Upserts, func(a, b Object) int { return a.Key.Compare(b.Key) })
	slices.SortFunc(d.Removals, Key.Compare)
	return d
}

// merge adds what leads from a to b, both ordered by key.
func (d *Delta) merge(a, b []Object) {
	for len(a) > 0 || len(b) > 0 {
		c := 1
		switch {
		case len(b) == 0:
			c = -1
		case len(a) > 0:
			c = a[0].Key.Compare(b[0].Key)
		}
		switch {
		case c < 0:
			d.Removals = append(d.Removals, a[0].Key)
			a = a[1:]
		case c > 0:
			d.Upserts = append(d.Upserts, b[0])
			b = b[1:]
		default:
			if !a[0].same(&b[0]) {
				d.Upserts = append(d.Upserts, b[0])
			}
			a, b = a[1:], b[1:]
		}
	}
}

// Apply returns the set with d applied: removals first, then upserts; of two upserts of one key the later one stays. Removing what isn't
// there changes nothing. The cost is that of the touched buckets and the root; a delta that changes nothing returns s itself.
func (s *Set) Apply(d Delta) *Set {
	edits := make([]edit, 0, len(d.Removals)+len(d.Upserts))
	for _, k := range d.Removals {
		edits = append(edits, edit{bucket: bucketOf(k), key: k})
	}
	for i := range d.Upserts {
		edits = append(edits, upsert(&d.Upserts[i]))
	}
	return s.edited(ordered(edits))
}

// edit is one removal (obj nil) or upsert, with its bucket.
type edit struct {
	bucket int
	key    Key
	obj    *Object
}

func upsert(o *Object) edit { return edit{bucket: bucketOf(o.Key), key: o.Key, obj: o} }

// ordered returns edits by bucket and key, equal ones in the order they had. Many are dealt out to the buckets before they are compared.
func ordered(edits []edit) []edit {
	if len(edits) < bucketCount {
		slices.SortStableFunc(edits, compareEdits)
		return edits
	}
	var next [bucketCount + 1]int // where the next edit of a bucket goes; in the end where the bucket's successor begins
	for i := range edits {
		next[edits[i].bucket+1]++
	}
	for i := range bucketCount {
		next[i+1] += next[i]
	}
	out := make([]edit, len(edits))
	for i := range edits {
		at := &next[edits[i].bucket]
		out[*at] = edits[i]
		*at++
	}
	from := 0
	for i := range bucketCount {
		slices.SortStableFunc(out[from:next[i]], compareEdits)
		from = next[i]
	}
	return out
}

func compareEdits(a, b edit) int {
	if c := cmp.Compare(a.bucket, b.bucket); c != 0 {
		return c
	}
	return a.key.Compare(b.key)
}

// edited applies edits, which are ordered by bucket and key; of several with one key the last one counts.
func (s *Set) edited(edits []edit) *Set {
	out := &Set{groups: s.groups, len: s.len}
	for len(edits) > 0 {
		n := 1
		for n < len(edits) && edits[n].bucket/fanout == edits[0].bucket/fanout {
			n++
		}
		out.editGroup(edits[0].bucket/fanout, edits[:n])
		edits = edits[n:]
	}
	if out.groups == s.groups {
		return s
	}
	out.digest = rootDigest(&out.groups)
	return out
}

// editGroup replaces group i by one with the edits applied, unless they change nothing.
func (s *Set) editGroup(i int, edits []edit) {
	var next group
	if old := s.groups[i]; old != nil {
		next.buckets = old.buckets
	}
	touched := false
	for len(edits) > 0 {
		n := 1
		for n < len(edits) && edits[n].bucket == edits[0].bucket {
			n++
		}
		slot := &next.buckets[edits[0].bucket%fanout]
		old := (*slot).all()
		if objs, changed := mergeEdits(old, edits[:n]); changed {
			*slot = newBucket(objs)
			s.len += len(objs) - len(old)
			touched = true
		}
		edits = edits[n:]
	}
	if touched {
		s.groups[i] = sealGroup(&next)
	}
}

// mergeEdits returns old with edits applied, in new memory, and whether that differs from old. Both are ordered by key.
func mergeEdits(old []Object, edits []edit) (objs []Object, changed bool) {
	objs = make([]Object, 0, len(old)+len(edits))
	for i, e := range edits {
		if i+1 < len(edits) && edits[i+1].key == e.key {
			continue
		}
		for len(old) > 0 && old[0].Key.Compare(e.key) < 0 {
			objs, old = append(objs, old[0]), old[1:]
		}
		had := len(old) > 0 && old[0].Key == e.key
		changed = changed || (e.obj == nil) == had || had && !old[0].same(e.obj)
		if e.obj != nil {
			objs = append(objs, *e.obj)
		}
		if had {
			old = old[1:]
		}
	}
	return append(objs, old...), changed
}

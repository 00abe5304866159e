package table

import (
	"iter"
	"slices"

	"github.com/hopgate/hopgate/proto/confset"
)

// branch is how many children a node has: 64 nodes of 64 leaves are 4,096 leaves.
const branch = 64

// pair is one entry. A leaf is a short slice of them, in no order: copying it is one move of memory, where cloning a map of that size
// takes a microsecond.
type pair[K comparable, V any] struct {
	k K
	v V
}

type node[K comparable, V any] [branch][]pair[K, V]

// shards is an immutable map cut into 4,096 leaves, so that a changed copy costs two small arrays and one leaf: among 100,000 entries a
// leaf holds 25.
type shards[K comparable, V any] struct {
	root  *[branch]*node[K, V] // a nil node is an empty one
	len   int
	place func(K) uint32 // only the low 12 bits count
}

func newShards[K comparable, V any](place func(K) uint32) shards[K, V] {
	return shards[K, V]{root: new([branch]*node[K, V]), place: place}
}

func (s *shards[K, V]) get(k K) (v V, ok bool) {
	p := s.place(k)
	n := s.root[p/branch%branch]
	if n == nil {
		return v, false
	}
	leaf := n[p%branch]
	if i := index(leaf, k); i >= 0 {
		return leaf[i].v, true
	}
	return v, false
}

func index[K comparable, V any](leaf []pair[K, V], k K) int {
	for i := range leaf {
		if leaf[i].k == k {
			return i
		}
	}
	return -1
}

// values returns every value, in no order.
func (s *shards[K, V]) values() iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, n := range s.root {
			if n == nil {
				continue
			}
			for _, leaf := range n {
				for i := range leaf {
					if !yield(leaf[i].v) {
						return
					}
				}
			}
		}
	}
}

// edit begins a changed copy. The receiver stays as it is.
func (s *shards[K, V]) edit() edit[K, V] { return edit[K, V]{shards: *s} }

// edit is a copy in the making, for one goroutine. It copies each node and leaf once, at its first change.
type edit[K comparable, V any] struct {
	shards[K, V]
	ownRoot   bool
	ownNodes  uint64         // bit per node
	ownLeaves [branch]uint64 // bit per leaf
}

func (e *edit[K, V]) set(k K, v V) {
	leaf := e.leaf(e.place(k), 1)
	if i := index(*leaf, k); i >= 0 {
		(*leaf)[i].v = v
		return
	}
	*leaf = append(*leaf, pair[K, V]{k, v})
	e.len++
}

// add is set for a key that isn't there: it doesn't look.
func (e *edit[K, V]) add(k K, v V) {
	leaf := e.leaf(e.place(k), 1)
	*leaf = append(*leaf, pair[K, V]{k, v})
	e.len++
}

func (e *edit[K, V]) del(k K) {
	if _, ok := e.get(k); !ok {
		return
	}
	leaf := e.leaf(e.place(k), 0)
	i := index(*leaf, k)
	*leaf = slices.Delete(*leaf, i, i+1)
	e.len--
}

// done returns the changed copy; the edit must not be used after it.
func (e *edit[K, V]) done() shards[K, V] { return e.shards }

// leaf returns the leaf at a place, made ours, with room for some more entries.
func (e *edit[K, V]) leaf(place uint32, room int) *[]pair[K, V] {
	i, j := place/branch%branch, place%branch
	if !e.ownRoot {
		root := *e.root
		e.root, e.ownRoot = &root, true
	}
	if e.ownNodes&(1<<i) == 0 {
		n := new(node[K, V])
		if old := e.root[i]; old != nil {
			*n = *old
		}
		e.root[i] = n
		e.ownNodes |= 1 << i
	}
	leaf := &e.root[i][j]
	if e.ownLeaves[i]&(1<<j) == 0 {
		*leaf = append(make([]pair[K, V], 0, len(*leaf)+room), *leaf...)
		e.ownLeaves[i] |= 1 << j
	}
	return leaf
}

func placeHash(h [32]byte) uint32 { return uint32(h[0])<<8 | uint32(h[1]) }

// placeText is FNV-1a (32 bit), its upper half folded onto the lower.
func placeText(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h ^ h>>16
}

func placeKey(k confset.Key) uint32 { return placeText(k.Name) }

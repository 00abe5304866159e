package confset

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
)

// A set is a tree of fixed shape: a root of 32 groups of 32 buckets. The shape is part of the digest's definition.
const (
	fanout      = 32
	bucketCount = fanout * fanout
)

// Digest identifies the content of a set.
type Digest [sha256.Size]byte

// String returns the digest as 64 lower-case hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// bucket holds the objects whose keys hash to one place, ordered by key. It is immutable and never empty; nil is the empty bucket.
type bucket struct {
	objs   []Object
	digest Digest
}

func (b *bucket) all() []Object {
	if b == nil {
		return nil
	}
	return b.objs
}

// sum returns the digest; 32 zero bytes for the empty bucket.
func (b *bucket) sum() Digest {
	if b == nil {
		return Digest{}
	}
	return b.digest
}

// group holds 32 neighbouring buckets. It is immutable and never empty; nil is the empty group.
type group struct {
	buckets [fanout]*bucket
	digest  Digest
}

// sum returns the digest; 32 zero bytes for the empty group.
func (g *group) sum() Digest {
	if g == nil {
		return Digest{}
	}
	return g.digest
}

func (s *Set) bucket(i int) *bucket {
	g := s.groups[i/fanout]
	if g == nil {
		return nil
	}
	return g.buckets[i%fanout]
}

// bucketOf is FNV-1a (64 bit) over kind, a zero byte and name, its upper half folded onto the lower, modulo 1,024.
func bucketOf(k Key) int {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(k.Kind) {
		h = (h ^ uint64(k.Kind[i])) * prime
	}
	h *= prime
	for i := range len(k.Name) {
		h = (h ^ uint64(k.Name[i])) * prime
	}
	return int((h ^ h>>32) % bucketCount)
}

// find returns where in objs, ordered by key, key is or would be.
func find(objs []Object, key Key) (int, bool) {
	return slices.BinarySearchFunc(objs, key, func(o Object, k Key) int { return o.Key.Compare(k) })
}

// newBucket returns the bucket of objs, which are ordered by key.
func newBucket(objs []Object) *bucket {
	if len(objs) == 0 {
		return nil
	}
	d := newDigester("hopgate bucket 1\n")
	for i := range objs {
		d.text(objs[i].Key.Kind)
		d.text(objs[i].Key.Name)
		d.text(objs[i].UID)
		d.bytes(objs[i].Hash[:])
	}
	return &bucket{objs: objs, digest: d.sum()}
}

// sealGroup returns g with its digest, or nil when all its buckets are empty.
func sealGroup(g *group) *group {
	d := newDigester("hopgate group 1\n")
	full := false
	for _, b := range g.buckets {
		sum := b.sum()
		d.bytes(sum[:])
		full = full || b != nil
	}
	if !full {
		return nil
	}
	g.digest = d.sum()
	return g
}

func rootDigest(groups *[fanout]*group) Digest {
	d := newDigester("hopgate set 1\n")
	for _, g := range groups {
		sum := g.sum()
		d.bytes(sum[:])
	}
	return d.sum()
}

// digester is SHA-256 behind a small buffer.
type digester struct {
	h   hash.Hash
	buf []byte
}

func newDigester(title string) *digester {
	return &digester{h: sha256.New(), buf: append(make([]byte, 0, 2048), title...)}
}

// text adds a string with its length in front, as four bytes, the most significant first.
func (d *digester) text(s string) {
	d.room(len(s) + 4)
	d.buf = append(binary.BigEndian.AppendUint32(d.buf, uint32(len(s))), s...)
}

func (d *digester) bytes(b []byte) {
	d.room(len(b))
	d.buf = append(d.buf, b...)
}

func (d *digester) room(n int) {
	if len(d.buf)+n > cap(d.buf) {
		d.h.Write(d.buf)
		d.buf = d.buf[:0]
	}
}

func (d *digester) sum() (out Digest) {
	d.h.Write(d.buf)
	d.h.Sum(out[:0])
	return out
}

// Package confset is a set of config objects as an immutable value, with a digest that both planes compute alike.
//
// It promises that equal content has an equal digest however the set was built, that Apply(a, Diff(a, b)) equals b, and that a change
// of one object costs one bucket and the root, never the whole set. It refuses two objects under one key, and it never looks into a
// body: bodies are bytes, hashed as they were stored and sent. A Set and all it hands out may be shared by goroutines; nobody may write
// to a Body after it was handed in.
//
// The digest is part of the wire contract: proto/DESIGN.md says how it is computed.
package confset

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Key names an object. Kind is in lower case: server, apikey, settings, sealingring.
type Key struct{ Kind, Name string }

// String returns "kind/name".
func (k Key) String() string { return k.Kind + "/" + k.Name }

// Compare orders keys by kind, then by name, bytewise.
func (k Key) Compare(other Key) int {
	if c := strings.Compare(k.Kind, other.Kind); c != 0 {
		return c
	}
	return strings.Compare(k.Name, other.Name)
}

// Hash is the SHA-256 of a body.
type Hash [sha256.Size]byte

// String returns the hash as 64 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// HashBody returns the hash of a body, byte for byte as given.
func HashBody(body []byte) Hash { return sha256.Sum256(body) }

// Object is one config object. It is immutable.
type Object struct {
	Key Key
	// UID identifies the object over its life; a deleted and recreated one has another.
	UID string
	// Hash is HashBody(Body). Whoever takes an Object off a wire or a disk checks it with Intact.
	Hash Hash
	// Body is the object in protobuf wire format, exactly as stored and sent.
	Body []byte
}

// NewObject returns an object with the hash of its body.
func NewObject(key Key, uid string, body []byte) Object {
	return Object{Key: key, UID: uid, Hash: HashBody(body), Body: body}
}

// Intact reports whether Hash is the hash of Body.
func (o Object) Intact() bool { return HashBody(o.Body) == o.Hash }

func (o *Object) same(other *Object) bool { return o.Hash == other.Hash && o.UID == other.UID }

// Set is an immutable set of objects. The zero value is not valid: use Empty or New.
type Set struct {
	groups [fanout]*group // nil: empty
	len    int
	digest Digest
}

var empty = &Set{digest: rootDigest(&[fanout]*group{})}

// Empty returns the set without objects.
func Empty() *Set { return empty }

// New returns the set of objs. It fails when two of them have the same key.
func New(objs []Object) (*Set, error) {
	edits := make([]edit, len(objs))
	for i := range objs {
		edits[i] = upsert(&objs[i])
	}
	edits = ordered(edits)
	for i := 1; i < len(edits); i++ {
		if edits[i].key == edits[i-1].key {
			return nil, fmt.Errorf("%s is there twice; names are unique within a kind", edits[i].key)
		}
	}
	return empty.edited(edits), nil
}

// Digest returns the digest of the set's content: kind, name, uid and body hash of every object.
func (s *Set) Digest() Digest { return s.digest }

// Len returns the number of objects.
func (s *Set) Len() int { return s.len }

// Get returns the object under key.
func (s *Set) Get(key Key) (Object, bool) {
	objs := s.bucket(bucketOf(key)).all()
	i, ok := find(objs, key)
	if !ok {
		return Object{}, false
	}
	return objs[i], true
}

// Unordered returns every object in an order that means nothing. It is what a loop over a large set should use: All sorts.
func (s *Set) Unordered() iter.Seq[Object] {
	return func(yield func(Object) bool) {
		for i := range bucketCount {
			for _, o := range s.bucket(i).all() {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// All returns every object, ordered by kind and name. Each loop over it sorts: O(n log n).
func (s *Set) All() iter.Seq[Object] {
	return func(yield func(Object) bool) {
		refs := make([]*Object, 0, s.len)
		for i := range bucketCount {
			objs := s.bucket(i).all()
			for j := range objs {
				refs = append(refs, &objs[j])
			}
		}
		emit(refs, yield)
	}
}

// Kind returns the objects of one kind, ordered by name. Its cost follows the number of that kind.
func (s *Set) Kind(kind string) iter.Seq[Object] {
	return func(yield func(Object) bool) {
		var refs []*Object
		for i := range bucketCount {
			objs := s.bucket(i).all()
			from, _ := find(objs, Key{Kind: kind})
			for j := from; j < len(objs) && objs[j].Key.Kind == kind; j++ {
				refs = append(refs, &objs[j])
			}
		}
		emit(refs, yield)
	}
}

func emit(refs []*Object, yield func(Object) bool) {
	slices.SortFunc(refs, func(a, b *Object) int { return a.Key.Compare(b.Key) })
	for _, o := range refs {
		if !yield(*o) {
			return
		}
	}
}

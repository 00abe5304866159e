package backup

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
	"github.com/hopgate/hopgate/proto/confset"
)

// Contents are what an intact file holds.
type Contents struct {
	Header  Header
	Sum     [32]byte
	Kinds   map[string]int // objects by kind
	Changes int
	Newest  string // id of the newest change; empty: none
	Largest int    // bytes of the largest value
	// Opened counts the sealed bodies that the key at hand opens, Unopened those of history alone that it doesn't: what they held can't be
	// had back by a revert.
	Opened, Unopened int
}

// Check reads a whole file and tells what it holds. It fails unless the file is intact, every object has its body, and kek opens everything
// sealed that is in force; a nil kek opens nothing and is asked nothing.
func Check(in io.Reader, kek *secret.KEK) (*Contents, error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, err
	}
	c := newChecker(r.Header, kek)
	var odd error // damage explains what is odd, so that is looked for first
	for {
		rec, err := r.Next()
		switch {
		case err == nil && odd == nil:
			odd = c.take(rec)
		case errors.Is(err, io.EOF):
			c.found.Sum = r.Sum
			return &c.found, c.judge(odd)
		case err != nil:
			return nil, err
		}
	}
}

// judge is asked about an intact file.
func (c *checker) judge(odd error) error {
	if odd == nil {
		odd = c.whole()
	}
	if odd != nil {
		return fmt.Errorf("%w: %w", ErrFormat, odd)
	}
	if err := fits(&c.found.Header, c.kek); err != nil {
		return err
	}
	return c.unread
}

// fits compares the key with those that the header names.
func fits(h *Header, kek *secret.KEK) error {
	if kek == nil || len(h.KEKs) == 0 || slices.Contains(h.KEKs, kek.ID()) {
		return nil
	}
	return fmt.Errorf("%w: the snapshot needs the one with the id %.100s, this is %s: name the key file that was in use when it was taken; it is in no snapshot",
		ErrKey, strings.Join(h.KEKs, ", "), kek)
}

type checker struct {
	kek     *secret.KEK
	found   Contents
	sealed  map[confset.Hash][]owner // bodies that are sealed
	wanted  map[confset.Hash]bool    // bodies of heads; true: it was there
	changes map[string]struct{}
	unread  error // the first thing in force that doesn't open
}

func newChecker(h Header, kek *secret.KEK) *checker {
	return &checker{kek: kek, found: Contents{Header: h, Kinds: map[string]int{}},
		sealed: map[confset.Hash][]owner{}, wanted: map[confset.Hash]bool{}, changes: map[string]struct{}{}}
}

// owner is an object with a sealed body.
type owner struct {
	object  confset.Object
	inForce bool
}

func (c *checker) take(rec etcdstore.Record) error {
	c.found.Largest = max(c.found.Largest, len(rec.Value))
	if h, ok, err := rec.Head(); ok {
		return c.head(h, err)
	}
	if change, ok, err := rec.Change(); ok {
		return c.change(change, err)
	}
	if hash, ok, err := rec.Body(); ok {
		return c.body(hash, rec.Value, err)
	}
	if id, ok := rec.Newest(); ok {
		if _, ok := c.changes[id]; !ok {
			return errors.New("the newest change is missing")
		}
		c.found.Newest = id
	}
	return nil
}

func (c *checker) head(h store.Head, err error) error {
	if err != nil {
		return err
	}
	c.found.Kinds[h.Object.Key.Kind]++
	c.wanted[h.Object.Hash] = false
	c.seal(h.Object, true)
	return nil
}

// seal notes that the body of an object is sealed, if it is.
func (c *checker) seal(o confset.Object, inForce bool) {
	if o.Key.Kind == secret.KindRing || o.Key.Kind == secret.KindSecret {
		c.sealed[o.Hash] = append(c.sealed[o.Hash], owner{o, inForce})
	}
}

func (c *checker) change(change *store.ChangeRecord, err error) error {
	if err != nil {
		return err
	}
	c.found.Changes++
	c.changes[change.ID] = struct{}{}
	for _, o := range change.Objects {
		hash, ok := etcdstore.ParseHash(o.After)
		if !ok || c.known(hash, o.UID) {
			continue
		}
		c.seal(confset.Object{Key: confset.Key{Kind: o.Kind, Name: o.Name}, UID: o.UID, Hash: hash}, false)
	}
	return nil
}

func (c *checker) known(hash confset.Hash, uid string) bool {
	return slices.ContainsFunc(c.sealed[hash], func(o owner) bool { return o.object.UID == uid })
}

func (c *checker) body(hash confset.Hash, body []byte, err error) error {
	if err != nil {
		return err
	}
	if _, ok := c.wanted[hash]; ok {
		c.wanted[hash] = true
	}
	if c.kek == nil {
		return nil
	}
	for _, o := range c.sealed[hash] {
		o.object.Body = body
		switch _, err := secret.OpenHead(c.kek)(store.Head{Object: o.object}); {
		case err == nil:
			c.found.Opened++
		case !o.inForce:
			c.found.Unopened++
		case c.unread == nil:
			c.unread = fmt.Errorf("%w: %w", ErrKey, err)
		}
	}
	return nil
}

// whole says what is missing when all was taken.
func (c *checker) whole() error {
	for hash, there := range c.wanted {
		if !there {
			return fmt.Errorf("the body %s of an object is missing", hash)
		}
	}
	objects := 0
	for _, n := range c.found.Kinds {
		objects += n
	}
	switch {
	case int64(objects) != c.found.Header.Objects:
		return fmt.Errorf("%d objects are there, of %d", objects, c.found.Header.Objects)
	case c.found.Newest == "" && c.found.Changes > 0:
		return errors.New("nothing says which change is the newest")
	}
	return nil
}

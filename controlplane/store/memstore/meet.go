package memstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/hopgate/hopgate/controlplane/store"
)

// note is what a running Meet says.
type note struct {
	by    *Store
	name  string
	text  []byte
	fence store.Fence
}

// meeting is one running Meet.
type meeting struct {
	s     *Store
	m     store.Meeting
	text  []byte
	own   *note // nil: it isn't there yet
	heard int64 // content.said when Heard was last called
}

// errLost ends a meeting without its note.
var errLost = fmt.Errorf("meet: %w: the note of this control plane is gone", store.ErrUnavailable)

// Meet keeps a note of this handle; see store.Store. A handle may meet several times at once.
func (s *Store) Meet(ctx context.Context, m store.Meeting) error {
	r := &meeting{s: s, m: m}
	err := r.run(ctx)
	if r.leave() && ctx.Err() == nil {
		m.Heard(r.others())
	}
	return err
}

func (r *meeting) run(ctx context.Context) error {
	r.text = bytes.Clone(r.m.Note())
	for {
		if err := store.CheckNote(r.text); err != nil {
			return err
		}
		notes, changed, err := r.talk(ctx)
		if err != nil {
			return err
		}
		if notes != nil {
			r.m.Heard(notes)
		}
		select {
		case <-changed:
		case <-r.m.Turned:
			r.text = bytes.Clone(r.m.Note())
		case <-r.s.closed:
		case <-ctx.Done():
		}
	}
}

// talk sees to it that the note says what it should, and returns all notes if they aren't those that were heard last. The channel is closed
// when there may be others.
func (r *meeting) talk(ctx context.Context) ([]store.Note, <-chan struct{}, error) {
	if err := r.s.enter(ctx); err != nil {
		return nil, nil, err
	}
	c := r.s.c
	defer c.mu.Unlock()
	switch {
	case r.s.stalled:
		return nil, c.changed, nil
	case r.own == nil:
		r.own = c.sayLocked(r.s, r.m.Name, r.text)
	case !slices.Contains(c.notes, r.own):
		return nil, nil, errLost
	case !bytes.Equal(r.own.text, r.text):
		r.own.text = r.text
		c.saidLocked()
	}
	if r.heard == c.said {
		return nil, c.changed, nil
	}
	r.heard = c.said
	return c.heardLocked(r.own), c.changed, nil
}

// leave takes the note away and reports whether there was one.
func (r *meeting) leave() bool {
	r.s.force(func(c *content) { c.unsayLocked(func(n *note) bool { return n == r.own }) })
	return r.own != nil
}

func (r *meeting) others() []store.Note {
	r.s.c.mu.Lock()
	defer r.s.c.mu.Unlock()
	return r.s.c.heardLocked(nil)
}

// sayLocked adds a note after all others.
func (c *content) sayLocked(by *Store, name string, text []byte) *note {
	c.saidLocked()
	n := &note{by: by, name: name, text: text, fence: store.Fence{Key: fmt.Sprint("meeting/", c.said), Created: c.said}}
	c.notes = append(c.notes, n)
	return n
}

// unsayLocked takes notes away.
func (c *content) unsayLocked(which func(*note) bool) {
	before := len(c.notes)
	if c.notes = slices.DeleteFunc(c.notes, which); len(c.notes) < before {
		c.saidLocked()
	}
}

func (c *content) saidLocked() {
	c.said++
	c.wakeLocked()
}

// heardLocked is all notes as the one whose note is own hears them.
func (c *content) heardLocked(own *note) []store.Note {
	notes := make([]store.Note, 0, len(c.notes))
	for _, n := range c.notes {
		notes = append(notes, store.Note{Name: n.name, Text: bytes.Clone(n.text), Own: n == own, Fence: n.fence})
	}
	return notes
}

// standsLocked reports whether the note of a fence is there.
func (c *content) standsLocked(f store.Fence) bool {
	return slices.ContainsFunc(c.notes, func(n *note) bool { return n.fence == f })
}

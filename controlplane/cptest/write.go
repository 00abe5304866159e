package cptest

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Change is one commit.
type Change struct {
	// Puts are *configv1.Server or any other kind. They are not checked by rules: tests may want bad ones.
	Puts []proto.Message
	// Raw are bodies stored as they are, also when they are no valid message.
	Raw []confset.Object
	// Deletes names objects that must exist.
	Deletes []confset.Key
	// Traceparent of the call, W3C; may be empty.
	Traceparent string
	// At is when the change was made by the writer's clock; default: now.
	At time.Time
}

// Key returns the key of a config message.
func Key(m proto.Message) confset.Key {
	key := confset.Key{Kind: strings.ToLower(string(m.ProtoReflect().Descriptor().Name()))}
	if named, ok := m.(interface{ GetName() string }); ok {
		key.Name = named.GetName()
	}
	return key
}

// Put creates or replaces objects in one change and returns its revision.
func (c *Control) Put(objs ...proto.Message) int64 {
	c.tb.Helper()
	return c.Commit(Change{Puts: objs}).Revision
}

// Delete removes objects in one change and returns its revision.
func (c *Control) Delete(keys ...confset.Key) int64 {
	c.tb.Helper()
	return c.Commit(Change{Deletes: keys}).Revision
}

// Commit makes one change through the store, also while the control plane is stopped, and returns its record.
func (c *Control) Commit(ch Change) *store.ChangeRecord {
	c.tb.Helper()
	w, err := c.write(ch)
	if err != nil {
		c.tb.Fatalf("cptest: commit: %v", err)
	}
	res, err := c.Store.Commit(context.Background(), w)
	if err != nil {
		c.tb.Fatalf("cptest: commit: %v", err)
	}
	w.Record.Revision = res.Revision
	return &w.Record
}

func (c *Control) write(ch Change) (store.Write, error) {
	if ch.At.IsZero() {
		ch.At = time.Now()
	}
	w := store.Write{Record: store.ChangeRecord{ID: newID(), Time: ch.At, Author: "test", Traceparent: ch.Traceparent}}
	objs := ch.Raw
	for _, m := range ch.Puts {
		o, err := c.object(m)
		if err != nil {
			return w, err
		}
		objs = append(objs, o)
	}
	for _, o := range objs {
		if err := c.put(&w, o); err != nil {
			return w, err
		}
	}
	for _, key := range ch.Deletes {
		if err := c.remove(&w, key); err != nil {
			return w, err
		}
	}
	return w, nil
}

// object is a message as it is stored. A secret is sealed when there is a KEK, which takes its uid.
func (c *Control) object(m proto.Message) (confset.Object, error) {
	key, uid := Key(m), ""
	if s, ok := m.(*configv1.Secret); ok && c.cfg.KEK != nil && s.GetSpec() != nil {
		was, err := c.Store.Get(context.Background(), key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return confset.Object{}, err
		}
		if uid = was.Object.UID; uid == "" {
			uid = newID()
		}
		sealed, err := c.cfg.KEK.SealValue(key, uid, s.GetSpec().GetValue())
		if err != nil {
			return confset.Object{}, err
		}
		s = proto.CloneOf(s)
		s.Spec.Value, s.Spec.Sealed = "", sealed
		m = s
	}
	body, err := rules.Body(m)
	return confset.NewObject(key, uid, body), err
}

// put adds an object to a write; without a uid it keeps that of the stored one.
func (c *Control) put(w *store.Write, o confset.Object) error {
	was, err := c.Store.Get(context.Background(), o.Key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if o.UID == "" {
		o.UID = was.Object.UID
	}
	if o.UID == "" {
		o.UID = newID()
	}
	h := store.Head{Object: o, Generation: was.Generation + 1, Created: was.Created, Updated: w.Record.Time, Change: w.Record.ID}
	changed := store.Changed{Kind: o.Key.Kind, Name: o.Key.Name, UID: o.UID, After: o.Hash.String()}
	if was.Revision == 0 {
		h.Created = h.Updated
	} else {
		changed.Before = was.Object.Hash.String()
	}
	w.Expect = append(w.Expect, store.Precondition{Key: o.Key, Revision: was.Revision})
	w.Puts = append(w.Puts, h)
	w.Record.Objects = append(w.Record.Objects, changed)
	return nil
}

func (c *Control) remove(w *store.Write, key confset.Key) error {
	was, err := c.Store.Get(context.Background(), key)
	if err != nil {
		return err
	}
	w.Expect = append(w.Expect, store.Precondition{Key: key, Revision: was.Revision})
	w.Deletes = append(w.Deletes, key)
	w.Record.Objects = append(w.Record.Objects, store.Changed{Kind: key.Kind, Name: key.Name, UID: was.Object.UID, Before: was.Object.Hash.String()})
	return nil
}

func newID() string { return ulid.MustNew(ulid.Now(), rand.Reader).String() }

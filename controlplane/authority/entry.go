package authority

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
)

// entry is the head of a new object.
func entry(key confset.Key, uid string, m proto.Message, now time.Time) (store.Head, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	return store.Head{Object: confset.NewObject(key, uid, body), Generation: 1, Created: now, Updated: now}, err
}

// edited is a head with another body.
func edited(h store.Head, m proto.Message, now time.Time) (store.Head, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	h.Object, h.Updated, h.Generation = confset.NewObject(h.Object.Key, h.Object.UID, body), now, h.Generation+1
	return h, err
}

// write begins a write of the control plane's own; newest is the last change of what it is about.
func write(now time.Time, newest, message string) store.Write {
	return store.Write{Record: store.ChangeRecord{ID: store.NextID(now, newest), Time: now, Author: "hopgate", Message: message}}
}

// change adds an object to a write: one that isn't there, or that is as before.
func change(w *store.Write, before *store.Head, after store.Head) {
	key := after.Object.Key
	rec := store.Changed{Kind: key.Kind, Name: key.Name, UID: after.Object.UID, After: after.Object.Hash.String()}
	expect := store.Precondition{Key: key}
	if before != nil {
		rec.Before, expect.Revision = before.Object.Hash.String(), before.Revision
	}
	w.Record.Objects = append(w.Record.Objects, rec)
	w.Expect = append(w.Expect, expect)
	w.Puts = append(w.Puts, after)
}

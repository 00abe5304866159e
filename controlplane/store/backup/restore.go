package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
)

// Author is the author of the change that a restore leaves in the history.
const Author = "restore"

// Result is what a restore made.
type Result struct {
	Epoch    string
	Revision int64
	Change   string // id of the change that says so
}

// Restore writes a file, which Check has found good, into a store that is attached. A store that holds something is refused unless force is
// set. Should the file turn out to be another one than was checked, the store stays closed; see etcdstore.Restore.
func Restore(ctx context.Context, s *etcdstore.Store, in io.Reader, checked *Contents, force bool) (Result, error) {
	if checked.Largest > s.Room() {
		return Result{}, fmt.Errorf("the snapshot holds a value of %d bytes, this etcd takes %d; restore into one that takes more", checked.Largest, s.Room())
	}
	r, err := NewReader(in)
	if err != nil {
		return Result{}, err
	}
	record := recordOf(checked, time.Now())
	to, err := s.Restore(ctx, force)
	if err != nil {
		return Result{}, err
	}
	defer to.Close()
	if err := fill(to, r); err != nil {
		return Result{}, fmt.Errorf("the store is emptied and half filled, and stays closed until it is restored with --force: %w", err)
	}
	if r.Sum != checked.Sum {
		return Result{}, fmt.Errorf("%w: it changed while it was read; the store stays closed until it is restored with --force", ErrDamaged)
	}
	epoch, revision, err := to.Finish(ctx, record, checked.Header.Objects)
	return Result{epoch, revision, record.ID}, err
}

func fill(to *etcdstore.Restore, r *Reader) error {
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = to.Put(rec)
		}
		if err != nil {
			return err
		}
	}
}

// recordOf is the change that says what was done, above all that are restored. It names no objects: no removal is meant just because an older
// snapshot lacks an object, so guards hold what they would hold.
func recordOf(c *Contents, now time.Time) store.ChangeRecord {
	h := &c.Header
	return store.ChangeRecord{
		ID: store.NextID(now, c.Newest), Time: now.UTC(), Author: Author, Parent: c.Newest, Objects: []store.Changed{},
		Message: fmt.Sprintf("restored from a snapshot of %s: epoch %s, revision %d", h.Time.UTC().Format(time.RFC3339), h.Epoch, h.Revision),
	}
}

package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/backup"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newKEK(t testing.TB) *secret.KEK {
	t.Helper()
	kek, err := secret.LoadKEK(filepath.Join(t.TempDir(), "kek"), true)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

// member is a store in a new directory, closed when the test ends.
func member(t testing.TB, dir string) *etcdstore.Store {
	t.Helper()
	s, err := etcdstore.Embedded(etcdstore.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func opened(t testing.TB) *etcdstore.Store {
	t.Helper()
	s := member(t, t.TempDir())
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func attached(t testing.TB, dir string) *etcdstore.Store {
	t.Helper()
	s := member(t, dir)
	if err := s.Attach(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func commit(t testing.TB, s store.Store, w store.Write) int64 {
	t.Helper()
	r, err := s.Commit(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	return r.Revision
}

// sealed is a secret as it is stored.
func sealed(t testing.TB, kek *secret.KEK, name, value string) store.Head {
	t.Helper()
	key := confset.Key{Kind: secret.KindSecret, Name: name}
	blob, err := kek.SealValue(key, "uid-"+name, value)
	if err != nil {
		t.Fatal(err)
	}
	body, err := proto.Marshal(&configv1.Secret{Name: name, Spec: &configv1.SecretSpec{Sealed: blob}})
	if err != nil {
		t.Fatal(err)
	}
	return storetest.Head(key.Kind, name, string(body))
}

// lived is a store with a history: a ring, a secret with two values, a server that was changed and one that was deleted.
func lived(t testing.TB, kek *secret.KEK) *etcdstore.Store {
	t.Helper()
	s := opened(t)
	if err := secret.EnsureRing(t.Context(), s, kek, "session"); err != nil {
		t.Fatal(err)
	}
	a, gone, hush := storetest.Head("server", "a", "one"), storetest.Head("server", "gone", "x"), sealed(t, kek, "token", "the first value")
	w := storetest.Put(a, gone, hush)
	w.RequestID, w.Record.Message = "some request", "begin"
	rev := commit(t, s, w)
	a.Object, a.Generation, a.Revision, a.Owner = confset.NewObject(a.Object.Key, a.Object.UID, []byte("two")), 2, rev, "/etc/a.yaml"
	gone.Revision, hush.Revision = rev, rev
	again := sealed(t, kek, "token", "the second value")
	again.Generation, again.Revision = 2, rev
	commit(t, s, storetest.Delete(storetest.Put(a, again), gone))
	return s
}

func taken(t testing.TB, s *etcdstore.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := backup.Take(t.Context(), s, &b, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// restore puts a file into a store as the command does.
func restore(ctx context.Context, s *etcdstore.Store, file []byte, kek *secret.KEK, force bool) (backup.Result, error) {
	c, err := backup.Check(bytes.NewReader(file), kek)
	if err != nil {
		return backup.Result{}, err
	}
	return backup.Restore(ctx, s, bytes.NewReader(file), c, force)
}

// record is what must survive of a change.
func record(t testing.TB, s store.Store) []store.ChangeRecord {
	t.Helper()
	all, err := s.Changes(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var out []store.ChangeRecord
	for _, c := range all {
		c.Revision = 0
		out = append(out, *c)
	}
	return out
}

func snapshot(t testing.TB, s store.Store) *store.Snapshot {
	t.Helper()
	snap, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func TestRestoredStoreHoldsWhatWasTaken(t *testing.T) {
	kek := newKEK(t)
	from := lived(t, kek)
	file := taken(t, from)
	was, history := snapshot(t, from), record(t, from)

	dir := t.TempDir()
	to := attached(t, dir)
	res, err := restore(t.Context(), to, file, kek, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	s := member(t, dir)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	is := snapshot(t, s)
	if is.Epoch != res.Epoch || is.Epoch == was.Epoch || is.Revision != res.Revision || is.Change.ID != res.Change {
		t.Errorf("restored: %+v, loaded: epoch %s revision %d change %s, taken from epoch %s", res, is.Epoch, is.Revision, is.Change.ID, was.Epoch)
	}
	for i := range max(len(was.Heads), len(is.Heads)) {
		a, b := was.Heads[i], is.Heads[i]
		a.Revision, b.Revision = 0, 0
		if !reflect.DeepEqual(a, b) {
			t.Errorf("head %d\n was %+v\n  is %+v", i, a, b)
		}
		if _, err := secret.OpenHead(kek)(b); err != nil {
			t.Error(err)
		}
	}
	after := record(t, s)
	if len(after) != len(history)+1 || !reflect.DeepEqual(after[1:], history) {
		t.Errorf("history\n was %+v\n  is %+v", history, after)
	}
	if c := after[0]; c.Author != "restore" || c.Parent != history[0].ID || !strings.Contains(c.Message, fmt.Sprintf("epoch %s, revision %d", was.Epoch, was.Revision)) {
		t.Errorf("record of the restore: %+v", c)
	}
	for _, o := range history[0].Objects {
		if hash, ok := etcdstore.ParseHash(o.After); ok {
			if _, err := s.Body(t.Context(), hash); err != nil {
				t.Errorf("%s/%s: %v", o.Kind, o.Name, err)
			}
		}
	}
	if _, err := s.Request(t.Context(), "some request"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a request id of another life: %v", err)
	}
	h := is.Heads[0]
	h.Revision++
	var conflict *store.ConflictError
	if _, err := s.Commit(t.Context(), storetest.Put(h)); !errors.As(err, &conflict) {
		t.Errorf("a write with a revision of another life: %v", err)
	}
	commit(t, s, storetest.Put(storetest.Head("server", "later", "x")))
}

func TestCheckTellsWhatAFileHolds(t *testing.T) {
	kek := newKEK(t)
	file := taken(t, lived(t, kek))
	c, err := backup.Check(bytes.NewReader(file), kek)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"server": 1, "secret": 1, "sealingring": 1}; !reflect.DeepEqual(c.Kinds, want) || c.Changes != 3 || c.Opened != 3 || c.Unopened != 0 {
		t.Errorf("%+v", c)
	}
	if h := c.Header; h.Program != "v1.2.3" || h.Objects != 3 || !reflect.DeepEqual(h.KEKs, []string{kek.ID()}) || time.Since(h.Time) > time.Minute {
		t.Errorf("%+v", h)
	}
	for _, secret := range []string{"the first value", "the second value", "some request"} {
		if bytes.Contains(file, []byte(secret)) {
			t.Errorf("the file holds %q", secret)
		}
	}
}

func TestOnlyAnEmptyStoreIsFilledWithoutForce(t *testing.T) {
	kek := newKEK(t)
	s := lived(t, kek)
	file := taken(t, s)
	later := commit(t, s, storetest.Put(storetest.Head("server", "later", "x")))
	if _, err := restore(t.Context(), s, file, kek, false); err == nil || !strings.Contains(err.Error(), "holds 4 objects") || !strings.Contains(err.Error(), "--force") {
		t.Fatalf("got %v", err)
	}
	if snap := snapshot(t, s); snap.Revision != later || len(snap.Heads) != 4 {
		t.Fatalf("the refusal wrote something: %+v", snap)
	}
	res, err := restore(t.Context(), s, file, kek, true)
	if err != nil {
		t.Fatal(err)
	}
	if snap := snapshot(t, s); snap.Epoch != res.Epoch || len(snap.Heads) != 3 || len(record(t, s)) != 4 {
		t.Errorf("%+v", snap)
	}
}

func TestOtherKeyIsRefused(t *testing.T) {
	kek, other := newKEK(t), newKEK(t)
	file := taken(t, lived(t, kek))
	_, err := backup.Check(bytes.NewReader(file), other)
	if !errors.Is(err, backup.ErrKey) || !strings.Contains(err.Error(), kek.ID()) || !strings.Contains(err.Error(), other.ID()) {
		t.Errorf("got %v", err)
	}
	if _, err := backup.Check(bytes.NewReader(file), nil); err != nil {
		t.Errorf("without a key: %v", err)
	}
}

func TestObjectSealedWithAnotherKeyIsRefusedByName(t *testing.T) {
	kek, other := newKEK(t), newKEK(t)
	s := lived(t, kek)
	commit(t, s, storetest.Put(sealed(t, other, "stranger", "x")))
	_, err := backup.Check(bytes.NewReader(taken(t, s)), kek)
	if !errors.Is(err, backup.ErrKey) || !strings.Contains(err.Error(), "secret/stranger") {
		t.Errorf("got %v", err)
	}
}

func TestHistorySealedWithAnotherKeyIsCounted(t *testing.T) {
	kek, old := newKEK(t), newKEK(t)
	s := opened(t)
	h := sealed(t, old, "token", "before the key was changed")
	rev := commit(t, s, storetest.Put(h))
	h = sealed(t, kek, "token", "after")
	h.Revision = rev
	commit(t, s, storetest.Put(h))
	c, err := backup.Check(bytes.NewReader(taken(t, s)), kek)
	if err != nil || c.Opened != 1 || c.Unopened != 1 {
		t.Errorf("%+v %v", c, err)
	}
}

func TestUnusedStoreHasNothingToTake(t *testing.T) {
	s := attached(t, t.TempDir())
	if _, err := backup.Take(t.Context(), s, &bytes.Buffer{}, ""); err == nil || !strings.Contains(err.Error(), "the store is empty") {
		t.Errorf("got %v", err)
	}
}

// halfway fails in the midst of the second read of a file.
type halfway struct {
	*bytes.Reader
	left int
}

// Read reads as long as something may be read.
func (h *halfway) Read(p []byte) (int, error) {
	if h.left <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := h.Reader.Read(p[:min(len(p), h.left)])
	h.left -= n
	return n, err
}

func TestHalfRestoredStoreIsNotServed(t *testing.T) {
	kek := newKEK(t)
	s := lived(t, kek)
	file := taken(t, s)
	c, err := backup.Check(bytes.NewReader(file), kek)
	if err != nil {
		t.Fatal(err)
	}
	before, ended := snapshot(t, s), make(chan error, 1)
	go func() {
		ended <- s.Watch(t.Context(), before.Revision, func(e store.Event) error { return fmt.Errorf("an event of a half restored store: %+v", e) })
	}()
	if _, err := backup.Restore(t.Context(), s, &halfway{bytes.NewReader(file), len(file) - 40}, c, true); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("restore: %v", err)
	}
	if err := <-ended; !errors.Is(err, store.ErrEpoch) {
		t.Errorf("watch: %v", err)
	}
	for name, try := range map[string]func() error{
		"load":          func() error { _, err := s.Load(t.Context()); return err },
		"take":          func() error { _, err := backup.Take(t.Context(), s, &bytes.Buffer{}, ""); return err },
		"restore again": func() error { _, err := restore(t.Context(), s, file, kek, false); return err },
	} {
		if err := try(); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "isn't complete") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Commit(t.Context(), storetest.Put(storetest.Head("server", "late", "x"))); !errors.Is(err, store.ErrEpoch) {
		t.Errorf("commit: %v", err)
	}
	res, err := restore(t.Context(), s, file, kek, true)
	if err != nil {
		t.Fatal(err)
	}
	if snap := snapshot(t, s); snap.Epoch != res.Epoch || len(snap.Heads) != len(before.Heads) {
		t.Errorf("after all: %+v", snap)
	}
}

func TestSecondRestoreEndsTheFirst(t *testing.T) {
	kek := newKEK(t)
	s := lived(t, kek)
	file := taken(t, s)
	first, err := s.Restore(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := first.Put(etcdstore.Record{Key: "obj/x", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(t.Context(), s, file, kek, true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := first.Finish(t.Context(), store.ChangeRecord{ID: storetest.ID()}, 0); err == nil || !strings.Contains(err.Error(), "another restore") {
		t.Errorf("got %v", err)
	}
	if _, err := backup.Take(t.Context(), s, &bytes.Buffer{}, ""); err != nil {
		t.Errorf("the first one spoiled the second: %v", err)
	}
}

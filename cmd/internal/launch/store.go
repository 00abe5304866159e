package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/process"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/backup"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
)

// takeTries is how often a snapshot is begun again when etcd was compacted meanwhile.
const takeTries = 3

// StoreAccess says where a store is.
type StoreAccess struct {
	// DataDir keeps the embedded store, and the key-encryption key unless another file is named.
	DataDir string
	// Etcd are the members of an external cluster; nil: the embedded store in DataDir.
	Etcd *etcdstore.ClusterConfig
	Log  *slog.Logger
}

func (a *StoreAccess) dir() string { return filepath.Join(a.DataDir, "etcd") }

// attach reaches the cluster, or starts the embedded member, which nobody else may have open.
func (a *StoreAccess) attach(ctx context.Context) (*etcdstore.Store, error) {
	var s *etcdstore.Store
	var err error
	log := process.Component(a.Log, "store")
	if a.Etcd == nil {
		s, err = etcdstore.Embedded(etcdstore.EmbeddedConfig{Dir: a.dir(), Log: log})
	} else {
		cfg := *a.Etcd
		cfg.Log = log
		s, err = etcdstore.Cluster(cfg)
	}
	if err != nil {
		return nil, err
	}
	if err := s.Attach(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// TakeSnapshot copies what a store holds into a file.
type TakeSnapshot struct {
	StoreAccess
	// File must not exist yet.
	File string
}

// Run writes the file, complete or not at all, and says to out what it holds.
func (t *TakeSnapshot) Run(ctx context.Context, out io.Writer) (err error) {
	if _, err := os.Lstat(t.File); err == nil {
		return fmt.Errorf("--out %s: is there already; name another file", t.File)
	}
	if _, err := os.Stat(filepath.Join(t.dir(), "member")); t.Etcd == nil && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--data-dir %s: there is no store in it; name the directory that up or control uses, or --etcd", t.DataDir)
	}
	s, err := t.attach(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for try := 1; ; try++ {
		h, err := t.write(ctx, s)
		if errors.Is(err, store.ErrCompacted) && try < takeTries {
			continue
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d objects, epoch %s, revision %d\n", t.File, h.Objects, h.Epoch, h.Revision)
		fmt.Fprintf(out, "it can only be restored with %s, which is not in it: keep a copy elsewhere\n", keys(h.KEKs))
		return nil
	}
}

// write fills a file beside the wanted one (0600) and links it into place.
func (t *TakeSnapshot) write(ctx context.Context, s *etcdstore.Store) (h backup.Header, err error) {
	f, err := os.CreateTemp(filepath.Dir(t.File), ".hopgate-snapshot-*") // 0600
	if err != nil {
		return h, fmt.Errorf("--out: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // what is left of it is in place
	h, err = backup.Take(ctx, s, f, process.ThisBuild().Version)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return h, err
	}
	if err := os.Link(f.Name(), t.File); err != nil {
		return h, fmt.Errorf("--out: %w", err)
	}
	dir, err := os.Open(filepath.Dir(t.File))
	if err != nil {
		return h, err
	}
	return h, errors.Join(dir.Sync(), dir.Close())
}

// keys names key-encryption keys by their ids.
func keys(ids []string) string {
	switch len(ids) {
	case 0:
		return "any key-encryption key"
	case 1:
		return "the key-encryption key " + ids[0]
	}
	return "the key-encryption keys " + strings.Join(ids, ", ")
}

// RestoreSnapshot puts what a file holds into a store.
type RestoreSnapshot struct {
	StoreAccess
	File string
	// KEKFile is the key-encryption key; empty: kek in DataDir. It is never made.
	KEKFile string
	// Force replaces what the store holds.
	Force bool
	// DryRun checks the file and touches no store. Without a KEKFile it does without the key when there is none in DataDir.
	DryRun bool
}

// Run checks the whole file before it touches the store, and says to out what it holds and what became of it.
func (r *RestoreSnapshot) Run(ctx context.Context, out io.Writer) (err error) {
	f, err := os.Open(r.File)
	if err != nil {
		return fmt.Errorf("--in: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	kek, err := r.kek()
	if err != nil {
		return err
	}
	c, err := backup.Check(f, kek)
	if err != nil {
		return fmt.Errorf("--in %s: %w; nothing was changed", r.File, err)
	}
	describe(out, r.File, c, kek)
	if r.DryRun {
		return nil
	}
	s, err := r.attach(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("--in: %w", err)
	}
	res, err := backup.Restore(ctx, s, f, c, r.Force)
	if err != nil {
		return err
	}
	r.Log.Warn("the store was restored", "file", r.File, "epoch", res.Epoch, "revision", res.Revision, "change", res.Change, "from_epoch", c.Header.Epoch, "from_revision", c.Header.Revision)
	fmt.Fprintf(out, "restored as change %s at revision %d, epoch %s\n", res.Change, res.Revision, res.Epoch)
	r.hint(out, kek)
	return nil
}

func (r *RestoreSnapshot) kek() (*secret.KEK, error) {
	if r.KEKFile != "" {
		return secret.LoadKEK(r.KEKFile, false)
	}
	file := filepath.Join(r.DataDir, "kek")
	if _, err := os.Lstat(file); r.DryRun && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return secret.LoadKEK(file, false)
}

// hint tells of a data directory whose store was restored but whose key isn't the one for it.
func (r *RestoreSnapshot) hint(out io.Writer, kek *secret.KEK) {
	there := filepath.Join(r.DataDir, "kek")
	if r.Etcd != nil || r.KEKFile == "" {
		return
	}
	if own, err := secret.LoadKEK(there, false); err != nil || own.ID() != kek.ID() {
		fmt.Fprintf(out, "before up or control starts on it, copy %s to %s (mode 0600), or give control --kek-file\n", r.KEKFile, there)
	}
}

func describe(out io.Writer, file string, c *backup.Contents, kek *secret.KEK) {
	h := &c.Header
	fmt.Fprintf(out, "%s: taken %s by hopgate %s, epoch %s, revision %d\n", file, h.Time.UTC().Format(time.RFC3339), h.Program, h.Epoch, h.Revision)
	kinds := []string{}
	for _, kind := range slices.Sorted(maps.Keys(c.Kinds)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, c.Kinds[kind]))
	}
	fmt.Fprintf(out, "%d objects (%s), %d changes\n", h.Objects, strings.Join(kinds, ", "), c.Changes)
	switch {
	case kek == nil:
		fmt.Fprintf(out, "needs %s; not checked, since --kek-file isn't given\n", keys(h.KEKs))
	case c.Unopened > 0:
		fmt.Fprintf(out, "key-encryption key %s opens everything sealed that is in force, but not %d earlier values in the history\n", kek.ID(), c.Unopened)
	default:
		fmt.Fprintf(out, "key-encryption key %s opens everything sealed in it\n", kek.ID())
	}
}

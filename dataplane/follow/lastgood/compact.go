package lastgood

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/hopgate/hopgate/proto/confset"
)

const (
	// compactFrom is how much a journal may always grow, beyond the size its file began with, before it is compacted.
	compactFrom = 1 << 20
	// syncEvery spreads the writing of a large snapshot, so that the disk isn't blocked for the journal.
	syncEvery = 4 << 20
)

var errClosing = errors.New("the store is closing")

// image is what a generation begins with.
type image struct {
	good    point
	pending []point
	suspect *Suspect
}

func (s *Store) imageLocked() image {
	i := image{good: s.good, pending: slices.Clone(s.pending)}
	if s.suspect != nil {
		i.suspect = new(*s.suspect)
	}
	return i
}

// records returns the image as records: snapshot, suspect, pending changes.
func (i image) records() []record {
	good := confset.Empty()
	if i.good.set != nil {
		good = i.good.set
	}
	recs := cut(slices.AppendSeq(make([]confset.Object, 0, good.Len()), good.Unordered()), kindObjects)
	recs = append(recs, record{kind: kindBase, version: i.good.version})
	if i.suspect != nil {
		recs = append(recs, record{kind: kindSuspect, version: i.suspect.Version, tries: i.suspect.Tries})
	}
	before := good
	for _, p := range i.pending {
		recs = append(recs, deltaRecords(confset.Diff(before, p.set), p.version)...)
		before = p.set
	}
	return recs
}

// beginLocked writes a new generation with the state as it is and goes on in it.
func (s *Store) beginLocked() error {
	j, err := s.draft(s.newest+1, s.imageLocked())
	if err != nil {
		return err
	}
	return s.switchLocked(j, s.newest+1)
}

// compactLocked writes a new generation in the background. What is appended meanwhile goes into the old file and follows in the new one.
func (s *Store) compactLocked() {
	if s.compacting || s.closed {
		return
	}
	s.compacting, s.since = true, nil
	n, img := s.newest+1, s.imageLocked()
	s.compaction.Go(func() {
		j, err := s.draft(n, img)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.compacting = false
		since := s.since
		s.since = nil
		if err == nil {
			err = s.finishLocked(j, n, since)
		}
		if err != nil && s.file != nil {
			s.baseSize = s.file.size // the old file goes on; not again before it has doubled
		}
	})
}

// finishLocked adds to a draft what came while it was written, and goes on in it.
func (s *Store) finishLocked(j *journal, n uint64, since []record) error {
	if err := j.write(since); err != nil {
		j.discard()
		return err
	}
	return s.switchLocked(j, n)
}

// draft writes an image into a file that isn't a generation yet.
func (s *Store) draft(n uint64, img image) (*journal, error) {
	j, err := create(s.path(n)+".new", s.sealer)
	if err != nil {
		return nil, err
	}
	synced := int64(0)
	for _, r := range img.records() {
		if err = j.write([]record{r}); err == nil && j.size-synced > syncEvery {
			synced, err = j.size, j.f.Sync()
		}
		if err == nil && s.closing.Load() {
			err = errClosing
		}
		if err != nil {
			j.discard()
			return nil, err
		}
	}
	return j, nil
}

// switchLocked makes a draft the generation in use and drops those before the last.
func (s *Store) switchLocked(j *journal, n uint64) error {
	if err := publish(j, s.path(n)); err != nil {
		j.discard()
		return err
	}
	if s.file != nil {
		s.file.close()
	}
	before := s.serving
	s.file, s.baseSize, s.newest, s.serving = j, j.size, n, n
	for _, old := range generations(s.dir) {
		if old != n && old != before {
			os.Remove(s.path(old))
		}
	}
	return nil
}

// publish gives a draft its name, for good.
func publish(j *journal, path string) error {
	if err := j.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(j.f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

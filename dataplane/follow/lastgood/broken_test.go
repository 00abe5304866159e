package lastgood

import (
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

func TestAStoreThatCouldNotWriteCatchesUp(t *testing.T) {
	dir := t.TempDir()
	s, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	set := confset.Empty()
	put := func(name string) (table.Version, error) {
		d := confset.Delta{Upserts: []confset.Object{confset.NewObject(confset.Key{Kind: "server", Name: name}, "uid", nil)}}
		set = set.Apply(d)
		v := table.Version{Revision: int64(set.Len()), Epoch: "e", Digest: set.Digest()}
		return v, s.Append(d, set, v)
	}
	first, err := put("a")
	if err != nil {
		t.Fatal(err)
	}
	s.file.f.Close() // as a disk that went away
	if err := s.MarkGood(first); err == nil {
		t.Error("a write to a closed file succeeds")
	}
	if _, err := put("b"); err == nil {
		t.Error("it tries again at once")
	}
	s.retryAt = time.Now()
	third, err := put("c")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, state, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if state.Version != first || state.Suspect == nil || state.Suspect.Version != third || len(state.Problems) > 0 {
		t.Errorf("state %+v; want the first config as good, the third as suspect", state)
	}
}

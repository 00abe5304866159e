package lastgood_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/follow/lastgood"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

// history is a small directory with two generations and every kind of record, and the versions that were ever good or cleanly served.
func history(t *testing.T) (dir string, fine map[table.Version]bool) {
	t.Helper()
	dir = t.TempDir()
	fine = map[table.Version]bool{{}: true}
	w, _ := open(t, dir)
	keep := func(v table.Version) {
		w.good(v)
		fine[v] = true
	}
	keep(w.put("a", "1"))
	w.crash()
	files := generationFiles(t, dir)
	first, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	damage(t, files[0], func(b []byte) []byte { return b[:10] }) // a new generation begins
	w, _ = open(t, dir)
	keep(w.put("b", "2"))
	keep(w.put("c", "3"))
	w.put("bad", "4")
	w.crash()
	w, _ = open(t, dir)
	if err := w.store.Retry(); err != nil {
		t.Fatal(err)
	}
	v := w.put("d", "5")
	fine[v] = true
	w.clean()
	if err := os.WriteFile(filepath.Join(dir, "config-0000000000000001.gen"), first, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, fine
}

func damage(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, change(slices.Clone(b)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// survives opens a copy of dir with one file changed: it must start on a config that was good, and go on keeping changes.
func survives(t *testing.T, dir, file string, fine map[table.Version]bool, change func([]byte) []byte) {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	damage(t, filepath.Join(to, filepath.Base(file)), change)
	s, state, err := lastgood.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	if !fine[state.Version] || state.Version != (table.Version{}) && state.Set.Digest() != state.Version.Digest {
		t.Errorf("starts on %+v, which was never good", state.Version)
	}
	w := &writer{tb: t, store: s, set: state.Set, rev: 100}
	v := w.put("later", "6")
	w.clean()
	s, state, err = lastgood.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	if state.Version != v || len(state.Problems) > 0 {
		t.Errorf("after the repair it starts on %+v with problems %q", state.Version, state.Problems)
	}
	s.Close()
}

// stride spares the disk: every offset and every bit is tried on the same bytes in memory, by TestDamageAtEveryByte.
const stride = 29

func TestTruncatedFiles(t *testing.T) {
	dir, fine := history(t)
	newest := generationFiles(t, dir)[1]
	for n := 0; n < size(t, newest); n += stride {
		survives(t, dir, newest, fine, func(b []byte) []byte { return b[:n] })
	}
}

func TestFlippedBits(t *testing.T) {
	dir, fine := history(t)
	newest := generationFiles(t, dir)[1]
	for n := 0; n < size(t, newest); n += stride {
		survives(t, dir, newest, fine, func(b []byte) []byte { b[n] ^= 1 << (n % 8); return b })
	}
}

func size(t *testing.T, file string) int {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Size())
}

func TestADamagedGenerationFallsBackToTheOneBefore(t *testing.T) {
	dir, _ := history(t)
	files := generationFiles(t, dir)
	damage(t, files[1], func(b []byte) []byte { b[30] ^= 1; return b })
	_, state := open(t, dir)
	if state.Set.Len() != 1 || state.Version.Revision != 1 || len(state.Problems) != 1 || state.Suspect != nil {
		t.Errorf("%d objects, %+v, problems %q, suspect %v", state.Set.Len(), state.Version, state.Problems, state.Suspect)
	}
}

func TestRecordsCantBeMovedOrLeftOut(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	w.good(w.put("a", "1"))
	file := generationFiles(t, dir)[0]
	var ends []int64
	for i := range 3 {
		ends = append(ends, total(t, dir))
		w.good(w.put("a", string(rune('2'+i))))
	}
	w.crash()
	for name, change := range map[string]func(b []byte) []byte{
		"left out": func(b []byte) []byte { return append(b[:ends[1]], b[ends[2]:]...) },
		"swapped":  func(b []byte) []byte { return slices.Concat(b[:ends[1]], b[ends[2]:], b[ends[1]:ends[2]]) },
		"repeated": func(b []byte) []byte { return slices.Concat(b[:ends[2]], b[ends[1]:]) },
	} {
		to := t.TempDir()
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		damage(t, filepath.Join(to, filepath.Base(file)), change)
		_, state := open(t, to)
		if want := map[string]int64{"left out": 2, "swapped": 2, "repeated": 3}[name]; state.Version.Revision != want || len(state.Problems) == 0 {
			t.Errorf("%s: starts on revision %d, want %d; problems %q", name, state.Version.Revision, want, state.Problems)
		}
	}
}

func TestALostNodeKeyStartsEmpty(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"another": func(b []byte) []byte { b[0] ^= 1; return b },
		"short":   func(b []byte) []byte { return b[:31] },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w, _ := open(t, dir)
			w.good(w.put("a", "1"))
			w.crash()
			damage(t, filepath.Join(dir, "node.key"), change)
			w, state := open(t, dir)
			if state.Set.Len() != 0 || len(state.Problems) == 0 {
				t.Errorf("%d objects, problems %q", state.Set.Len(), state.Problems)
			}
			v := w.put("b", "1")
			w.good(v)
			w.crash()
			expect(t, dir, v, 1, nil)
		})
	}
}

func TestAChangeOfWhichOnlyAPartWasWrittenIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	good := w.put("a", "1")
	w.good(good)
	before := total(t, dir)
	var d confset.Delta
	for _, name := range []string{"b", "c", "d", "e", "f", "g", "h", "i"} {
		d.Upserts = append(d.Upserts, server(name, strings.Repeat(name, 300_000)))
	}
	w.apply(d)
	w.crash()
	damage(t, generationFiles(t, dir)[0], func(b []byte) []byte { return b[:before+1_500_000] }) // the first part is whole, the second isn't
	w, state := expect(t, dir, good, 1, nil)
	if len(state.Problems) != 1 {
		t.Errorf("problems %q", state.Problems)
	}
	v := w.put("later", "1")
	w.good(v)
	w.crash()
	expect(t, dir, v, 2, nil)
}

package lastgood_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/follow/lastgood"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writer applies changes to a store as a data plane would.
type writer struct {
	tb    testing.TB
	store *lastgood.Store
	set   *confset.Set
	rev   int64
}

func open(tb testing.TB, dir string) (*writer, lastgood.State) {
	tb.Helper()
	s, state, err := lastgood.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return &writer{tb: tb, store: s, set: state.Set, rev: state.Version.Revision}, state
}

// put appends a change of one object and returns its version.
func (w *writer) put(name, body string) table.Version {
	w.tb.Helper()
	return w.apply(confset.Delta{Upserts: []confset.Object{server(name, body)}})
}

func (w *writer) apply(d confset.Delta) table.Version {
	w.tb.Helper()
	w.set = w.set.Apply(d)
	w.rev++
	v := table.Version{Revision: w.rev, Epoch: "epoch", Digest: w.set.Digest()}
	if err := w.store.Append(d, w.set, v); err != nil {
		w.tb.Fatal(err)
	}
	return v
}

func (w *writer) good(v table.Version) {
	w.tb.Helper()
	if err := w.store.MarkGood(v); err != nil {
		w.tb.Fatal(err)
	}
}

func (w *writer) clean() {
	w.tb.Helper()
	if err := w.store.MarkClean(); err != nil {
		w.tb.Fatal(err)
	}
	w.crash()
}

// crash ends the store as a killed process would.
func (w *writer) crash() {
	w.tb.Helper()
	if err := w.store.Close(); err != nil {
		w.tb.Fatal(err)
	}
}

func server(name, body string) confset.Object {
	return confset.NewObject(confset.Key{Kind: "server", Name: name}, "uid-"+name, []byte(body))
}

// expect opens dir again and compares what it would serve.
func expect(t *testing.T, dir string, v table.Version, objects int, suspect *table.Version) (*writer, lastgood.State) {
	t.Helper()
	w, state := open(t, dir)
	if state.Version != v {
		t.Errorf("version %+v, want %+v", state.Version, v)
	}
	if v.Revision != 0 && state.Set.Digest() != v.Digest || state.Set.Len() != objects {
		t.Errorf("the set has %d objects and digest %s, want %d and %s", state.Set.Len(), state.Set.Digest(), objects, v.Digest)
	}
	switch {
	case suspect == nil && state.Suspect != nil:
		t.Errorf("unexpected suspect %+v", *state.Suspect)
	case suspect != nil && (state.Suspect == nil || state.Suspect.Version != *suspect):
		t.Errorf("suspect %+v, want %+v", state.Suspect, *suspect)
	}
	return w, state
}

func TestAnEmptyDirectoryStartsEmpty(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	w, state := expect(t, dir, table.Version{}, 0, nil)
	if len(state.Problems) > 0 {
		t.Errorf("problems %q", state.Problems)
	}
	w.clean()
	expect(t, dir, table.Version{}, 0, nil)
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v; want mode 0700", info.Mode(), err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want mode 0600", f, info.Mode(), err)
		}
	}
}

func TestGoodConfigSurvivesACrash(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	v := w.put("a", "1")
	w.good(v)
	w.crash()
	expect(t, dir, v, 1, nil)
}

func TestPendingConfigIsTheSuspectAfterACrash(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	good := w.put("a", "1")
	w.good(good)
	w.put("b", "1")
	bad := w.put("c", "1")
	w.crash()
	w, _ = expect(t, dir, good, 1, &bad)
	w.crash()
	t.Log("and after a second crash, this time on the good config")
	expect(t, dir, good, 1, &bad)
}

func TestACleanStopClearsThePendingMark(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	w.good(w.put("a", "1"))
	v := w.put("b", "1")
	w.clean()
	w, _ = expect(t, dir, v, 2, nil)
	if got, ok := w.store.Candidate(); !ok || got != v {
		t.Errorf("candidate %+v, %v; what was pending has to prove itself after the start", got, ok)
	}
}

func TestAStartOnPendingConfigMakesItPendingAgain(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	good := w.put("a", "1")
	w.good(good)
	bad := w.put("b", "1")
	w.clean()
	w, _ = open(t, dir)
	w.crash()
	expect(t, dir, good, 1, &bad)
}

func TestLaterChangesStayPendingWhenAnEarlierOneIsGood(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	first := w.put("a", "1")
	second := w.put("b", "1")
	last := w.apply(confset.Delta{Upserts: []confset.Object{server("c", "1")}, Removals: []confset.Key{{Kind: "server", Name: "a"}}})
	w.good(first)
	if got, _ := w.store.Candidate(); got != second {
		t.Errorf("candidate %+v, want the next oldest %+v", got, second)
	}
	w.crash()
	w, _ = expect(t, dir, first, 1, &last)
	w.good(w.apply(confset.Delta{Upserts: []confset.Object{server("d", "1")}}))
	w.crash()
	if _, state := open(t, dir); state.Set.Len() != 2 || state.Suspect != nil {
		t.Errorf("%d objects and suspect %v; want 2 and none", state.Set.Len(), state.Suspect)
	}
}

func TestANewerConfigCanBeGoodBeforeTheNewest(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	older := w.put("a", "1")
	middle := w.put("b", "1")
	last := w.put("c", "1")
	w.good(middle)
	if err := w.store.MarkGood(older); err == nil {
		t.Error("an older version than the good one was marked good")
	}
	w.crash()
	expect(t, dir, middle, 2, &last)
}

func TestAConfigIsGoodByWhenItCameIntoForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w, _ := open(t, dir)
		began := time.Now()
		var versions []table.Version
		for i := range 10 {
			versions = append(versions, w.put(fmt.Sprint("s", i), "1"))
			time.Sleep(time.Second) // virtual
		}
		if marked, err := w.store.MarkGoodSince(began.Add(-time.Second)); marked || err != nil {
			t.Errorf("marked %v, %v before anything came into force", marked, err)
		}
		if marked, err := w.store.MarkGoodSince(began.Add(6*time.Second + 1)); !marked || err != nil {
			t.Errorf("marked %v, %v", marked, err)
		}
		w.crash()
		expect(t, dir, versions[6], 7, &versions[9])
	})
}

func TestManyPendingConfigsStayFewInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w, _ := open(t, dir)
		began := time.Now()
		for i := range 300 {
			w.put("s", fmt.Sprint(i))
			time.Sleep(time.Second) // virtual
		}
		if _, err := w.store.MarkGoodSince(began.Add(200 * time.Second)); err != nil {
			t.Fatal(err)
		}
		w.crash()
		if _, state := open(t, dir); state.Version.Revision < 160 || state.Version.Revision > 201 {
			t.Errorf("revision %d is good; want one of not long before 201", state.Version.Revision)
		}
	})
}

func TestAnAbsolvedSuspectStaysAbsolved(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	good := w.put("a", "1")
	w.good(good)
	bad := w.put("b", "1")
	w.crash()
	w, _ = expect(t, dir, good, 1, &bad)
	if err := w.store.Absolve(); err != nil || w.store.Suspect() != nil {
		t.Errorf("suspect %+v, %v", w.store.Suspect(), err)
	}
	w.crash()
	expect(t, dir, good, 1, nil)
}

func TestTriesOfASuspectAreCounted(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	good := w.put("a", "1")
	w.good(good)
	bad := w.put("b", "1")
	w.crash()
	for tries := range 3 {
		w, state := expect(t, dir, good, 1, &bad)
		if state.Suspect == nil || state.Suspect.Tries != tries {
			t.Fatalf("suspect %+v, want %d tries", state.Suspect, tries)
		}
		if err := w.store.Retry(); err != nil {
			t.Fatal(err)
		}
		w.set, w.rev = state.Set, bad.Revision-1
		w.put("b", "1")
		w.crash()
	}
	w, state := expect(t, dir, good, 1, &bad)
	if state.Suspect.Tries != 3 {
		t.Errorf("%d tries, want 3", state.Suspect.Tries)
	}
	t.Log("another config clears it")
	w.good(w.put("c", "1"))
	if w.store.Suspect() != nil {
		t.Errorf("suspect %+v is still there", w.store.Suspect())
	}
}

func TestASuspectThatProvesItselfIsNoSuspect(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	v := w.put("a", "1")
	w.crash()
	w, _ = expect(t, dir, table.Version{}, 0, &v)
	if err := w.store.Retry(); err != nil {
		t.Fatal(err)
	}
	w.good(w.put("a", "1"))
	w.crash()
	expect(t, dir, v, 1, nil)
}

func TestASecondProcessIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	if _, _, err := lastgood.Open(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("error %v", err)
	}
}

func TestNothingIsReadableOnDisk(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	w.good(w.put("secretname", "secretbody"))
	w.clean()
	for _, f := range generationFiles(t, dir) {
		if b, _ := os.ReadFile(f); strings.Contains(string(b), "secret") {
			t.Errorf("%s holds plain text", f)
		}
	}
}

func TestCompactionKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	w, _ := open(t, dir)
	body := strings.Repeat("x", 30_000)
	var v table.Version
	first := w.put("s0", body)
	w.good(first)
	oldest := generationFiles(t, dir)[0]
	for i := range 200 { // 6 MB
		if v = w.put(fmt.Sprintf("s%d", i%7), body+fmt.Sprint(i)); i%3 == 0 {
			c, _ := w.store.Candidate()
			w.good(c)
		}
	}
	pending, _ := w.store.Candidate()
	last := v
	within(t, "a compaction", func() bool {
		last = w.put("s0", body+fmt.Sprint(last.Revision))
		return !slices.Contains(generationFiles(t, dir), oldest) // an old generation goes when two newer ones are whole
	})
	if n := len(generationFiles(t, dir)); n > 3 {
		t.Errorf("%d generations are kept", n)
	}
	w.good(pending)
	w.clean()
	expect(t, dir, last, 7, nil)
}

// within polls until ok, or fails after ten seconds.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 10 s", what)
		}
	}
}

func generationFiles(tb testing.TB, dir string) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "config-*.gen"))
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

func total(tb testing.TB, dir string) (n int64) {
	for _, f := range generationFiles(tb, dir) {
		if info, err := os.Stat(f); err == nil {
			n += info.Size()
		}
	}
	return n
}

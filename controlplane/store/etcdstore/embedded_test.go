package etcdstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	"github.com/hopgate/hopgate/proto/confset"
	"go.uber.org/goleak"
)

// crashDir makes this test binary the process that TestKilledProcessLosesNothing kills.
const crashDir = "ETCDSTORE_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Println("error", writeUntilKilled(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func embedded(t testing.TB, dir string) *etcdstore.Store {
	t.Helper()
	s, err := etcdstore.Embedded(etcdstore.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return embedded(t, t.TempDir()) })
}

func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	s := embedded(t, dir)
	w := storetest.Put(storetest.Head("server", "a", "body"))
	w.RequestID = "r"
	r, err := s.Commit(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	epoch := s.Epoch()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = embedded(t, dir)
	if s.Epoch() != epoch {
		t.Errorf("epoch %s, before %s", s.Epoch(), epoch)
	}
	snap, err := s.Load(t.Context())
	if err != nil || len(snap.Heads) != 1 || snap.Heads[0].Revision != r.Revision || snap.Change.ID != w.Record.ID {
		t.Fatalf("load: %+v %v", snap, err)
	}
	if id, err := s.Request(t.Context(), "r"); err != nil || id != w.Record.ID {
		t.Errorf("request: %q %v", id, err)
	}
	stop := errors.New("seen")
	if err := s.Watch(t.Context(), r.Revision-1, func(e store.Event) error {
		if e.Revision != r.Revision || string(e.Upserts[0].Object.Body) != "body" {
			t.Errorf("event %+v", e)
		}
		return stop
	}); !errors.Is(err, stop) {
		t.Errorf("watch: %v", err)
	}
}

// writeUntilKilled prints every change id that was acknowledged.
func writeUntilKilled(dir string) error {
	s, err := etcdstore.Embedded(etcdstore.EmbeddedConfig{Dir: dir})
	if err != nil {
		return err
	}
	if err := s.Open(context.Background()); err != nil {
		return err
	}
	for i := 0; ; i++ {
		w := storetest.Put(storetest.Head("server", fmt.Sprint("s", i), "body"))
		if _, err := s.Commit(context.Background(), w); err != nil {
			return err
		}
		fmt.Println("stored", w.Record.ID)
	}
}

func TestKilledProcessLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		id, ok := strings.CutPrefix(lines.Text(), "stored ")
		if !ok {
			t.Error(lines.Text())
		}
		if ids = append(ids, id); len(ids) == 50 {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait() // it was killed
	s := embedded(t, dir)
	snap, err := s.Load(t.Context())
	if err != nil || len(snap.Heads) < len(ids) || len(ids) < 50 {
		t.Fatalf("%d objects of %d acknowledged: %v", len(snap.Heads), len(ids), err)
	}
	for _, id := range ids {
		if _, err := s.Change(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDirectoryInUseIsRefused(t *testing.T) {
	dir := t.TempDir()
	first := embedded(t, dir)
	second, err := etcdstore.Embedded(etcdstore.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := second.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "in use by another process") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("open: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second.Open(t.Context()); err != nil {
		t.Fatalf("open after the first was closed: %v", err)
	}
}

func TestNothingListens(t *testing.T) {
	before := listening(t)
	s := embedded(t, t.TempDir())
	if _, err := s.Commit(t.Context(), storetest.Put(storetest.Head("server", "a", "a"))); err != nil {
		t.Fatal(err)
	}
	if after := listening(t); len(after) > len(before) {
		t.Fatalf("listening sockets: %v, before %v", after, before)
	}
}

// listening returns the inodes of this process' listening TCP sockets.
func listening(t *testing.T) []string {
	t.Helper()
	mine := map[string]bool{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		link, _ := os.Readlink("/proc/self/fd/" + fd.Name())
		mine[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
	}
	var found []string
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, _ := os.ReadFile(table)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && mine[f[9]] {
				found = append(found, f[9])
			}
		}
	}
	return found
}

func TestNotOpened(t *testing.T) {
	if _, err := etcdstore.Embedded(etcdstore.EmbeddedConfig{}); err == nil || !strings.Contains(err.Error(), "dir is empty") {
		t.Fatalf("no dir: %v", err)
	}
	s, err := etcdstore.Embedded(etcdstore.EmbeddedConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), confset.Key{Kind: "server", Name: "a"}); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("get: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("open after close: %v", err)
	}
}

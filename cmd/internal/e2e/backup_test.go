//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// etcdPrefix is where everything of ours is.
const etcdPrefix = "/hopgate/"

// kept is a control plane on a three-node etcd, a data plane, and a caller that never stops.
type kept struct {
	members []*member
	kek     string
	control *control
	proxy   *proxy
	key     string
}

func startKept(t *testing.T) *kept {
	t.Helper()
	s := &kept{members: startEtcd(t), kek: filepath.Join(t.TempDir(), "kek")}
	if err := os.WriteFile(s.kek, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.control = startControl(t, "control", nil, "--etcd", clients(s.members), "--kek-file", s.kek)
	s.proxy = startProxy(t, "proxy", nil, []*control{s.control})
	s.control.apply(t, server("demo", demoServer(t))+s.several("early", 16))
	s.key = s.control.key(t, "caller", "*")
	if res := s.control.command(t, "the value", nil, "secret", "set", "token"); res.Code != 0 {
		t.Fatal(res)
	}
	return s
}

// several are documents of servers that nobody answers for.
func (s *kept) several(name string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(server(fmt.Sprintf("%s%02d", name, i), fmt.Sprintf("http://127.0.0.1:9/%d", i)))
	}
	return b.String()
}

// store runs one of the commands for backups.
func (s *kept) store(t *testing.T, args ...string) result {
	t.Helper()
	args = append([]string{hopgate(t), "store"}, append(args, "--etcd", clients(s.members))...)
	return run(t, time.Minute, program{Name: "store " + args[2], Args: args}, "")
}

func (s *kept) snapshot(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "hopgate.snapshot")
	if res := s.store(t, "snapshot", "--out", file); res.Code != 0 {
		t.Fatal(res)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	return file
}

var restoredEpoch = regexp.MustCompile(`restored as change \S+ at revision \d+, epoch (\S+)`)

// restore restores and waits until the control plane serves what was restored, and the data plane stands there, too.
func (s *kept) restore(t *testing.T, file string, flags ...string) {
	t.Helper()
	began := time.Now()
	res := s.store(t, append([]string{"restore", "--in", file, "--kek-file", s.kek}, flags...)...)
	epoch := restoredEpoch.FindStringSubmatch(res.Out)
	if res.Code != 0 || epoch == nil {
		t.Fatal(res)
	}
	took := time.Since(began)
	eventually(t, 20*time.Second, "the control plane serves the restored store", func() error {
		var list struct{ Changes []struct{ Author string } }
		if err := s.control.get("/v1/changes?page_size=1", &list); err != nil || len(list.Changes) != 1 || list.Changes[0].Author != "restore" {
			return fmt.Errorf("newest change: %+v %w", list, err)
		}
		if missing := s.lacks(t, "early01"); missing != nil {
			return missing
		}
		return nil
	})
	s.control.inSync(t, "proxy")
	t.Logf("restored in %s, the data plane in sync %s after the command began", took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

// lacks is nil when the control plane has a server.
func (s *kept) lacks(t *testing.T, name string) error {
	t.Helper()
	return s.control.get("/v1/servers/"+name, new(struct{}))
}

// known is what the data plane makes of a server's name: whether it is one.
func (s *kept) known(t *testing.T, name string) bool {
	t.Helper()
	a, err := post(s.proxy.url(name), s.key, toolCall("echo", nil))
	if err != nil {
		t.Fatal(err)
	}
	return a.Status != http.StatusNotFound
}

// calling calls all the time until the test's end, or until it is stopped; then no call may have failed.
func (s *kept) calling(t *testing.T) (stop func()) {
	t.Helper()
	end, done := make(chan struct{}), make(chan struct{})
	n, failed := 0, []error{}
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ; ; n++ {
			if err := echo(s.proxy.url("demo"), s.key, fmt.Sprint(n)); err != nil {
				failed = append(failed, err)
			}
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		close(end)
		<-done
		t.Logf("%d calls meanwhile, %d failed", n, len(failed))
		if len(failed) > 0 {
			t.Errorf("among them: %v", errors.Join(failed[:min(3, len(failed))]...))
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestBackupReplacesALiveStore(t *testing.T) {
	t.Parallel()
	s := startKept(t)
	file := s.snapshot(t)
	stop := s.calling(t)
	s.control.apply(t, s.several("late", 3)+server("early00", "http://127.0.0.1:9/changed"))
	if res := s.control.command(t, "", nil, "delete", "server", "early01"); res.Code != 0 {
		t.Fatal(res)
	}
	if res := s.store(t, "restore", "--in", file, "--kek-file", s.kek); res.Code != 1 || !strings.Contains(res.Err, "--force") {
		t.Fatalf("over a store in use: %v", res)
	}
	s.restore(t, file, "--force")
	stop()

	out := s.control.command(t, "", nil, "get", "server", "early00", "-o", "yaml").Out
	if !strings.Contains(out, "http://127.0.0.1:9/0") || !strings.Contains(out, `generation: "1"`) {
		t.Errorf("early00 isn't as it was:\n%s", out)
	}
	// Three removals are no reason to wait for anybody.
	eventually(t, shown, "what the snapshot lacks leaves the data plane", func() error {
		if s.known(t, "late00") {
			return errors.New("late00 is still there")
		}
		return nil
	})
	if !s.known(t, "early01") {
		t.Error("what was deleted after the snapshot isn't back")
	}
	s.control.apply(t, server("after", demoServer(t)))
	if err := echo(s.proxy.url("after"), s.key, "news"); err != nil {
		t.Errorf("a server added after the restore: %v", err)
	}
}

func TestBackupBringsBackAWipedStore(t *testing.T) {
	t.Parallel()
	s := startKept(t)
	file := s.snapshot(t)
	stop := s.calling(t)
	s.control.apply(t, s.several("late", 12))
	must(t, 20*time.Second, program{Name: "etcdctl", Args: []string{tool(t, "E2E_ETCD", "etcdctl"), "--endpoints", clients(s.members), "del", "--prefix", etcdPrefix}}, "")
	eventually(t, 20*time.Second, "the control plane sees an empty store", func() error {
		if s.lacks(t, "early02") == nil {
			return errors.New("early02 is still there")
		}
		return nil
	})
	if !s.known(t, "early02") || !s.known(t, "late02") {
		t.Error("the wiped store emptied the data plane")
	}
	s.restore(t, file)

	// Twelve removals of thirty are held: the control plane has nothing of them, the data plane everything.
	if s.lacks(t, "late00") == nil || !s.known(t, "late00") || !s.known(t, "early02") {
		t.Errorf("control plane: %v; data plane knows late00: %v, early02: %v", s.lacks(t, "late00"), s.known(t, "late00"), s.known(t, "early02"))
	}
	s.control.stop(t)
	s.control.again(t)
	eventually(t, 30*time.Second, "the data plane itself holds what its control plane doesn't remember", func() error {
		status := s.control.command(t, "", nil, "status").Out
		if !strings.Contains(s.control.output(), "lacks 12 of the 31 objects served here") || !strings.Contains(status, "behind") {
			return errors.New(status)
		}
		return nil
	})
	if !s.known(t, "late00") {
		t.Error("after a restart of the control plane the removals weren't held")
	}
	stop()
	t.Logf("hopgate status:\n%s", s.control.command(t, "", nil, "status").Out)

	// Putting back what is missing ends it.
	s.control.apply(t, s.several("late", 12))
	s.control.inSync(t, "proxy")
}

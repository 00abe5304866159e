//go:build e2e && linux

package e2e

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/rules"
)

const (
	// manyObjects come in one change, one of them bad; badTold is how soon the control plane knows which and why.
	manyObjects, badTold = 500, 2 * time.Second
	// damageShort and damageLong are how long files are damaged, without and with SOAK, damageRounds how often at least.
	damageShort, damageLong, damageRounds = 15 * time.Second, time.Minute, 3
)

// TestOneBadObjectOfManyIsRejectedAloneAndNamed commits objects past the admission, as a control plane with laxer rules would.
func TestOneBadObjectOfManyIsRejectedAloneAndNamed(t *testing.T) {
	c := cptest.New(t, cptest.Config{})
	c.Put(apiKey("caller", "sk-e2e-many-0123456789abcdef", "*"))
	p := startProxy(t, "proxy", nil, []*control{{Sync: onTCP(t, c)}})
	end, url, worst := time.Now().Add(soakFor(t, time.Second, 30*time.Second)), demoServer(t), time.Duration(0)
	rounds := 0
	for ; rounds == 0 || time.Now().Before(end); rounds++ {
		bad := rand.IntN(manyObjects)
		objs := []confset.Object{}
		for i := range manyObjects {
			at := fmt.Sprintf("%s?round=%d", url, rounds)
			if i == bad {
				at = fmt.Sprintf("ftp://nowhere/%d", rounds)
			}
			body, err := rules.Body(reaching(fmt.Sprintf("r%d_%03d", rounds%4, i), at))
			ok(t, err)
			objs = append(objs, confset.NewObject(confset.Key{Kind: "server", Name: fmt.Sprintf("r%d_%03d", rounds%4, i)}, "", body))
		}
		c.Commit(cptest.Change{Raw: objs})
		took := promptly(t, badTold, "the bad object is named", func() error {
			st := c.Fleet().ObjectStatus(objs[bad])
			if st.GetRejected() != 1 || len(st.GetRefusals()) != 1 || st.GetRefusals()[0].GetField() != "spec.endpoints[0].url" {
				return fmt.Errorf("%v", st)
			}
			return nil
		})
		worst = max(worst, took)
		for i, o := range objs {
			if st := c.Fleet().ObjectStatus(o); i != bad && (st.GetApplied() != 1 || st.GetRejected() != 0) {
				t.Fatalf("%s is %v beside a bad one", o.Key, st)
			}
		}
		if err := echo(p.url(objs[(bad+1)%manyObjects].Key.Name), "sk-e2e-many-0123456789abcdef", "good"); err != nil {
			t.Errorf("the neighbour of the bad object: %v", err)
		}
	}
	t.Logf("%d changes of %d objects with a bad one: the others applied, the bad one told with its field within %s", rounds, manyObjects,
		worst.Round(time.Millisecond))
}

// TestDamagedStateNeverEndsADataPlane cuts and flips the files of a proven config at random places, starts the data plane on
// them, and lets it come back into sync.
func TestDamagedStateNeverEndsADataPlane(t *testing.T) {
	t.Parallel()
	c := startControl(t, "control", nil)
	p := startProxy(t, "proxy", nil, []*control{c})
	c.apply(t, server("demo", demoServer(t)))
	key := c.key(t, "caller", "demo")
	for i := range 10 {
		c.put(t, fmt.Sprintf("s%d", i), i)
	}
	c.inSync(t, "proxy")
	p.provenGood(t) // or each damage to the mark of a clean stop would make the config a suspect
	p.stop(t)
	good := filepath.Join(t.TempDir(), "good")
	ok(t, os.CopyFS(good, os.DirFS(p.State)))
	p.again(t)
	rounds, slowest := 0, time.Duration(0)
	for end := time.Now().Add(soakFor(t, damageShort, damageLong)); (time.Now().Before(end) || rounds < damageRounds) && !t.Failed(); rounds++ {
		p.wait(t)
		p.stop(t)
		ok(t, os.RemoveAll(p.State))
		ok(t, os.CopyFS(p.State, os.DirFS(good)))
		what := hurt(t, p.State)
		began := time.Now()
		p.again(t)
		p.wait(t)
		firstAnswer(t, p, key)
		c.inSync(t, "proxy")
		slowest = max(slowest, time.Since(began))
		if out := p.output(); strings.Contains(out, "panic") || strings.Contains(out, "goroutine ") {
			t.Errorf("after %s:\n%s", what, tail(out, 40))
		}
	}
	t.Logf("%d starts on damaged files; all came into sync, the slowest after %s", rounds, slowest.Round(time.Millisecond))
}

// hurt damages one file of a state directory and tells how.
func hurt(t *testing.T, dir string) string {
	t.Helper()
	files := []string{}
	ok(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	}))
	path := files[rand.IntN(len(files))]
	b, err := os.ReadFile(path)
	ok(t, err)
	if len(b) == 0 {
		return path + " is empty"
	}
	at := rand.IntN(len(b))
	var what string
	if rand.IntN(2) == 0 {
		b, what = b[:at], fmt.Sprintf("%s cut at %d of %d", path, at, len(b))
	} else {
		b[at] ^= 1 << rand.IntN(8)
		what = fmt.Sprintf("%s with a bit flipped at %d", path, at)
	}
	ok(t, os.WriteFile(path, b, 0o600))
	return what
}

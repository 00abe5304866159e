package stream_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// older is a data plane of the first version, newer one of a version that is yet to come.
const older, newer = 1, 99

// at is a hello of a data plane with another feature level.
func at(h *syncv1.Hello, level int32) *syncv1.Hello {
	h.FeatureLevel = level
	return h
}

func internal(name string) *configv1.Server {
	s := server(name)
	s.Spec.ReachableFrom = "internal"
	return s
}

// holds checks which objects a data plane has.
func (p *plane) holds(want ...string) {
	p.t.Helper()
	var got []string
	for o := range p.set.All() {
		got = append(got, o.Key.String())
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		p.t.Errorf("it holds %q, want %q", got, want)
	}
}

// news takes an update that must be a delta of so many upserts and removals.
func (p *plane) news(upserts, removals int) {
	p.t.Helper()
	u, up, gone := p.update()
	if u.GetFull() || up != upserts || gone != removals {
		p.t.Errorf("full %v with %d upserts and %d removals, want a delta with %d and %d", u.GetFull(), up, gone, upserts, removals)
	}
	p.ack(u)
}

// A data plane that can't read a restriction gets nothing of the object: it is taken away with the edit that restricts it, and comes back with
// the one that doesn't any more.
func TestAnObjectGoesFromOlderDataPlanesWhileItIsRestricted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"), server("b"))
		quiet()
		old, young := join(t, c, at(hello("old"), older)), join(t, c, at(hello("young"), newer))
		old.take()
		young.take()
		old.holds("server/a", "server/b")
		c.Put(internal("a"))
		old.news(0, 1)
		young.news(1, 0)
		old.holds("server/b")
		young.holds("server/a", "server/b")
		c.Put(server("a"))
		old.news(1, 0)
		young.news(1, 0)
		old.holds("server/a", "server/b")
		quiet()
		for _, p := range []*plane{old, young} {
			if got, want := p.set.Digest(), c.Views().Current(view.Scope{Region: "eu", FeatureLevel: older}).Digest(); got != want {
				t.Errorf("%s, want %s once nothing is withheld", got, want)
			}
		}
	})
}

// What is withheld is missing from the digest as well: a data plane that is told so much comes back without a resync, and a change of a
// withheld object leads it on with nothing.
func TestDigestsAgreeOverWhatIsWithheld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a"), internal("b"), &configv1.Team{Name: "core"}, &configv1.ApiKey{Name: "k", Spec: &configv1.ApiKeySpec{Team: "core"}},
			&configv1.ApiKey{Name: "plain", Spec: &configv1.ApiKeySpec{User: "u"}})
		quiet()
		p := join(t, c, at(hello("old"), older))
		p.take()
		p.holds("apikey/plain", "server/a")
		p.cancel()
		p2 := join(t, c, at(p.again("old"), older))
		if d := p.set.Digest(); string(p2.welcome.GetDigest()) != string(d[:]) {
			t.Errorf("welcomed with %x, it holds %s", p2.welcome.GetDigest(), d)
		}
		p2.set, p2.epoch, p2.revision = p.set, p.epoch, p.revision
		p2.ack(&syncv1.Update{}) // of what it brought along
		c.Put(internal("b2"))
		quiet() // nothing comes of it
		c.Put(server("c"))
		p2.news(1, 0)
		p2.holds("apikey/plain", "server/a", "server/c")
		scope := view.Scope{Region: "eu", FeatureLevel: older}
		some, all := c.Views().Unsupported(scope, 2)
		if fmt.Sprint(some) != "[apikey/k server/b]" || all != 4 {
			t.Errorf("unsupported: %v of %d, want the key and b of 4", some, all)
		}
	})
}

// The program is replaced, what was stored on disk stays: everything that was withheld comes, whether or not something changed meanwhile.
func TestADataPlaneThatIsUpgradedGetsWhatWasWithheld(t *testing.T) {
	for name, change := range map[string]bool{"nothing changed": false, "something changed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := cptest.New(t, cptest.Config{})
				c.Put(server("a"), internal("b"))
				quiet()
				p := join(t, c, at(hello("dp"), older))
				p.take()
				p.cancel()
				want := []string{"server/a", "server/b"}
				if change {
					c.Put(server("c"))
					want = append(want, "server/c")
				}
				quiet()
				upgraded := comeBack(t, c, p, rules.MostLevel)
				upgraded.holds(want...)
				downgraded := comeBack(t, c, upgraded, older)
				downgraded.holds(slices.DeleteFunc(want, func(s string) bool { return s == "server/b" })...)
			})
		})
	}
}

// comeBack opens a new stream with what a data plane holds and takes updates until the digest is that of the view, at most two.
func comeBack(t *testing.T, c *cptest.Control, was *plane, level int32) *plane {
	t.Helper()
	was.cancel()
	p := join(t, c, at(was.again("dp"), level))
	p.set, p.epoch, p.revision = was.set, was.epoch, was.revision
	p.takeUntil(c.Views().Current(view.Scope{Region: "eu", FeatureLevel: level}).Digest())
	return p
}

// takeUntil takes updates, with the objects that come, until it holds a set; an update that leads elsewhere is refused and followed by the
// whole set.
func (p *plane) takeUntil(want confset.Digest) {
	p.t.Helper()
	for range 2 {
		was := p.set
		u, d := p.raw()
		if p.set = p.set.Apply(d); u.GetFull() {
			p.set = confset.Empty().Apply(d)
		}
		if got := p.set.Digest(); string(got[:]) != string(u.GetDigest()) {
			p.set = was
			p.refuse(u, got, "another digest")
			continue
		}
		p.epoch, p.revision = u.GetEpoch(), u.GetRevision()
		p.ack(u)
		if p.set.Digest() == want {
			return
		}
	}
	p.t.Error("it isn't led to what it should have")
}

// raw takes one update of one part.
func (p *plane) raw() (*syncv1.Update, confset.Delta) {
	p.t.Helper()
	u := p.next().GetUpdate()
	if u == nil || u.GetMore() {
		p.t.Fatal("not an update of one part")
	}
	var d confset.Delta
	for _, r := range u.GetUpserts() {
		d.Upserts = append(d.Upserts, confset.NewObject(confset.Key{Kind: r.GetKind(), Name: r.GetName()}, r.GetUid(), r.GetBody()))
	}
	for _, n := range u.GetRemovals() {
		d.Removals = append(d.Removals, confset.Key{Kind: n.GetKind(), Name: n.GetName()})
	}
	return u, d
}

// A control plane of this version doesn't know what a later one wrote, neither drops nor changes it: the data plane judges.
func TestWhatALaterControlPlaneWroteArrivesByteForByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		later := protowire.AppendString(protowire.AppendTag(nil, 4000, protowire.BytesType), "from later")
		objs := []confset.Object{
			confset.NewObject(confset.Key{Kind: "apikey", Name: "k"}, "uid-k", append([]byte{0x0a, 1, 'k'}, later...)),
			confset.NewObject(confset.Key{Kind: "server", Name: "s"}, "uid-s", append([]byte{0x0a, 1, 's'}, later...)),
			confset.NewObject(confset.Key{Kind: "unheard", Name: "u"}, "uid-u", later),
		}
		c.Commit(cptest.Change{Raw: objs})
		quiet()
		for _, level := range []int32{older, rules.MostLevel, newer} {
			p := join(t, c, at(hello(fmt.Sprint("dp", level)), level))
			p.take()
			for _, want := range objs {
				if got, ok := p.set.Get(want.Key); !ok || got.Hash != want.Hash || string(got.Body) != string(want.Body) {
					t.Errorf("level %d: %s is there %v, as %x", level, want.Key, ok, got.Body)
				}
			}
		}
	})
}

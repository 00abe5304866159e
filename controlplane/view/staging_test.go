package view_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// staged is a change that is rolled out, driven step by step.
type staged struct {
	t      testing.TB
	c      *cptest.Control
	body   *adminv1.Rollout
	before []store.Head // what there was
}

// stage commits a change with a rollout of it.
func stage(t testing.TB, c *cptest.Control, id, state, strategy string, steps []string, puts []proto.Message, deletes ...confset.Key) *staged {
	t.Helper()
	s := &staged{t: t, c: c, body: &adminv1.Rollout{Change: id, State: state, Plan: &adminv1.RolloutPlan{Strategy: strategy, Steps: steps}}}
	for _, name := range steps {
		s.body.Steps = append(s.body.Steps, &adminv1.RolloutStep{Name: name})
	}
	for _, m := range puts {
		body, err := rules.Body(m)
		if err != nil {
			t.Fatal(err)
		}
		after := confset.HashBody(body)
		s.add(cptest.Key(m), after[:])
	}
	for _, key := range deletes {
		s.add(key, nil)
	}
	c.Commit(cptest.Change{Puts: puts, Deletes: deletes, Raw: []confset.Object{s.object()}})
	return s
}

func (s *staged) add(key confset.Key, after []byte) {
	o := &adminv1.StagedObject{Kind: key.Kind, Name: key.Name, After: after}
	if h, err := s.c.Store.Get(context.Background(), key); err == nil {
		o.Before, o.Uid, o.Generation = h.Object.Hash[:], h.Object.UID, h.Generation
		s.before = append(s.before, h)
	}
	s.body.Objects = append(s.body.Objects, o)
}

func (s *staged) object() confset.Object {
	b, err := proto.Marshal(s.body)
	if err != nil {
		s.t.Fatal(err)
	}
	return confset.NewObject(confset.Key{Kind: rollout.Kind, Name: s.body.GetChange()}, "", b)
}

// to writes the rollout with another state or step.
func (s *staged) to(state string, step int32) {
	s.t.Helper()
	s.body.State, s.body.Step = state, step
	s.c.Commit(cptest.Change{Raw: []confset.Object{s.object()}})
}

// undo takes the change back in one commit.
func (s *staged) undo() {
	s.t.Helper()
	s.body.State = rollout.Reverted
	ch := cptest.Change{Raw: []confset.Object{s.object()}}
	for _, h := range s.before {
		ch.Raw = append(ch.Raw, h.Object)
	}
	for _, o := range s.body.GetObjects() {
		if len(o.GetBefore()) == 0 {
			ch.Deletes = append(ch.Deletes, confset.Key{Kind: o.GetKind(), Name: o.GetName()})
		}
	}
	s.c.Commit(ch)
}

func at(region string) view.Scope {
	return view.Scope{Region: region, Node: "n-" + region, FeatureLevel: 9}
}

// tells checks what a scope has: objects as name=version, where the version is the port of a server's endpoint.
func tells(t *testing.T, c *cptest.Control, s view.Scope, want ...string) {
	t.Helper()
	quiet()
	if got := versions(c.Views().Current(s)); !slices.Equal(got, want) {
		t.Errorf("%s/%s has %q, want %q", s, s.Node, got, want)
	}
}

func versions(v *view.View) (out []string) {
	for o := range v.Set.Kind("server") {
		m := &configv1.Server{}
		if err := proto.Unmarshal(o.Body, m); err != nil {
			out = append(out, err.Error())
			continue
		}
		out = append(out, o.Key.Name+"="+m.GetSpec().GetEndpoints()[0].GetUrl())
	}
	return out
}

func TestRegionsGetAChangeOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a", "1"), server("gone", "1"), server("b", "1"))
		quiet()
		shared := c.Views().Current(at("eu")) == c.Views().Current(at("us"))
		r := stage(t, c, "r1", rollout.Rolling, rollout.Regions, []string{"eu", "us", rollout.Rest},
			[]proto.Message{server("a", "2"), server("made", "2")}, confset.Key{Kind: "server", Name: "gone"})
		was, has := []string{"a=1", "b=1", "gone=1"}, []string{"a=2", "b=1", "made=2"}
		tells(t, c, at("eu"), was...)
		if _, ok := c.Views().Get("server", "made"); !ok || c.Views().Active().Body.GetChange() != "r1" {
			t.Error("the index doesn't have what is staged")
		}
		if id, ok := c.Views().Staged(confset.Key{Kind: "server", Name: "gone"}); !ok || id != "r1" {
			t.Errorf("who holds a deleted object: %q", id)
		}
		r.to(rollout.Rolling, 1)
		tells(t, c, at("eu"), has...)
		tells(t, c, at("us"), was...)
		c.Put(server("b", "3")) // others go on at once
		tells(t, c, at("us"), "a=1", "b=3", "gone=1")
		r.to(rollout.Paused, 2)
		tells(t, c, at("us"), "a=2", "b=3", "made=2")
		tells(t, c, at("asia"), "a=1", "b=3", "gone=1")
		r.to(rollout.Done, 3)
		tells(t, c, at("asia"), "a=2", "b=3", "made=2")
		if v := c.Views(); !shared || v.Current(at("eu")) != v.Current(at("asia")) || v.Active() != nil || len(v.Rollouts()) != 1 {
			t.Error("afterwards the rings don't share a view, or a rollout is active")
		}
		if _, ok := c.Views().Staged(confset.Key{Kind: "server", Name: "a"}); ok {
			t.Error("an object is held by a rollout that is done")
		}
		for _, v := range []*view.View{c.Views().Current(at("eu"))} {
			if o := keysIn(v); o != "[server/a server/b server/made]" {
				t.Errorf("data planes have %s: kept kinds among them", o)
			}
		}
	})
}

func TestACanaryAdmitsByNodeAndRelaysLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a", "1"))
		r := stage(t, c, "r1", rollout.Rolling, rollout.Canary, []string{"1", "100%"}, []proto.Message{server("a", "2")})
		first, second, relay := at("eu"), at("eu"), at("eu")
		second.Node, relay.Node, relay.Relay = "n-other", "n-eu", true
		if rollout.Hash(first.Node, "r1") > rollout.Hash(second.Node, "r1") {
			first, second = second, first
			relay.Node = first.Node
		}
		r.body.Threshold = rollout.Hash(first.Node, "r1")
		r.to(rollout.Rolling, 1)
		tells(t, c, first, "a=2")
		tells(t, c, second, "a=1")
		tells(t, c, relay, "a=1")
		of := c.Views().Crowds()
		if of.Of(first) == of.Of(second) || of.Of(second) != of.Of(relay) {
			t.Error("crowds don't follow the rings")
		}
		r.to(rollout.Rolling, 2)
		tells(t, c, relay, "a=2")
		r.undo()
		for _, s := range []view.Scope{first, second, relay} {
			tells(t, c, s, "a=1")
		}
		if of := c.Views().Crowds(); of.Of(first) != of.Of(second) {
			t.Error("there are two crowds without a rollout")
		}
	})
}

func TestAQueuedChangeIsHeldBackFromAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a", "1"), server("b", "1"))
		one := stage(t, c, "r1", rollout.Rolling, rollout.Regions, []string{"eu", "rest"}, []proto.Message{server("a", "2")})
		two := stage(t, c, "r2", rollout.Queued, rollout.Regions, []string{"us", "rest"}, []proto.Message{server("b", "2")})
		one.to(rollout.Rolling, 1)
		tells(t, c, at("eu"), "a=2", "b=1")
		tells(t, c, at("us"), "a=1", "b=1")
		one.to(rollout.Done, 2)
		tells(t, c, at("us"), "a=2", "b=1")
		if c.Views().Current(at("eu")) != c.Views().Current(at("us")) {
			t.Error("rings that don't differ don't share a view")
		}
		two.to(rollout.Rolling, 1)
		tells(t, c, at("eu"), "a=2", "b=1")
		tells(t, c, at("us"), "a=2", "b=2")
		if got := c.Views().Rollouts(); len(got) != 2 || got[0].Body.GetChange() != "r2" {
			t.Errorf("rollouts %v, want the newest first", got)
		}
		two.undo()
		tells(t, c, at("us"), "a=2", "b=1")
	})
}

func TestALoadInTheMiddleOfARolloutGivesTheSameRings(t *testing.T) {
	for _, how := range []string{"restart", "compaction"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := memstore.New()
				c := cptest.New(t, cptest.Config{Store: mem})
				c.Put(server("a", "1"), server("gone", "1"))
				quiet()
				if how == "compaction" {
					out(mem)
				}
				r := stage(t, c, "r1", rollout.Rolling, rollout.Regions, []string{"eu", "rest"},
					[]proto.Message{server("a", "2"), server("made", "2")}, confset.Key{Kind: "server", Name: "gone"})
				r.to(rollout.Rolling, 1)
				if how == "compaction" {
					mem.Compact()
				} else {
					c.Restart()
				}
				tells(t, c, at("eu"), "a=2", "made=2")
				tells(t, c, at("us"), "a=1", "gone=1")
				r.undo()
				tells(t, c, at("eu"), "a=1", "gone=1")
				if c.Views().Current(at("eu")) != c.Views().Current(at("us")) {
					t.Error("the rings differ after the end")
				}
			})
		})
	}
}

// bodiless has no bodies until it is mended.
type bodiless struct {
	*memstore.Store
	broken atomic.Bool
}

func (b *bodiless) Body(ctx context.Context, hash confset.Hash) ([]byte, error) {
	if b.broken.Load() {
		return nil, errors.New("no body for you")
	}
	return b.Store.Body(ctx, hash)
}

func TestWhatWasBeforeIsReadOrNothingIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := &bodiless{Store: memstore.New()}
		c := cptest.New(t, cptest.Config{Store: mem})
		c.Put(server("a", "1"))
		quiet()
		before := c.Views().Current(at("us"))
		out(mem.Store)
		mem.broken.Store(true)
		c.Put(server("a", "5"))
		r := stage(t, c, "r1", rollout.Rolling, rollout.Regions, []string{"eu", "rest"}, []proto.Message{server("a", "2")})
		r.to(rollout.Rolling, 1)
		mem.Compact()
		quiet()
		for _, s := range []view.Scope{at("eu"), at("us")} {
			if c.Views().Current(s) != before || c.Views().Active() != nil {
				t.Errorf("%s got another view without what was before", s)
			}
		}
		mem.broken.Store(false)
		tells(t, c, at("eu"), "a=2")
		tells(t, c, at("us"), "a=5")
	})
}

func TestSecretsStayForTheRingThatNeedsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(credential("old", "v"), credential("new", "v"), using("s", "old", []string{"eu", "us"}))
		quiet()
		r := stage(t, c, "r1", rollout.Rolling, rollout.Regions, []string{"eu", "rest"},
			[]proto.Message{using("s", "new", []string{"eu", "us", "asia"})}, confset.Key{Kind: "secret", Name: "old"})
		r.to(rollout.Rolling, 1)
		quiet()
		for _, restart := range []bool{false, true} {
			if restart {
				c.Restart()
			}
			us, eu := secretsIn(c.Views().Current(at("us"))), secretsIn(c.Views().Current(at("eu")))
			if !slices.Contains(us, "old") || slices.Contains(eu, "old") || !slices.Contains(eu, "new") {
				t.Errorf("restarted %v: us has %q and eu %q; want the deleted one in us alone, the new one in eu", restart, us, eu)
			}
		}
		c.Put(using("more", "old", []string{"asia"}))
		quiet()
		sees(t, c, at("asia"), "new", "old")
		c.Delete(confset.Key{Kind: "server", Name: "more"})
		r.undo()
		c.Put(credential("other", "v"))
		quiet()
		sees(t, c, states, "old")
		sees(t, c, europe, "old")
		sees(t, c, asia)
	})
}

func TestTheTrailLeadsAcrossRings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a", "1"), server("b", "1"), server("gone", "1"))
		type point struct {
			scope view.Scope
			view  *view.View
		}
		var points []point
		note := func() {
			quiet()
			for _, region := range []string{"eu", "us"} {
				points = append(points, point{at(region), c.Views().Current(at(region))})
			}
		}
		note()
		r := stage(t, c, "r1", rollout.Rolling, rollout.Regions, []string{"eu", "rest"},
			[]proto.Message{server("a", "2"), server("made", "2")}, confset.Key{Kind: "server", Name: "gone"})
		note()
		r.to(rollout.Rolling, 1)
		note()
		for i := range 20 {
			c.Put(server("b", fmt.Sprint(i)))
			note()
		}
		r.undo()
		note()
		for _, p := range points {
			now := c.Views().Current(p.scope)
			if u := now.DeltaAfter(p.view.Epoch, p.view.Revision); u == nil && p.view.Digest() != now.Digest() ||
				u != nil && (u.Full || lead(p.view.Set, u).Digest() != now.Digest()) {
				t.Errorf("%s at revision %d isn't led on", p.scope, p.view.Revision)
			}
		}
		for _, p := range points[len(points)-6:] {
			if now := c.Views().Current(p.scope); now.Delta(p.view.Digest()) == nil {
				t.Errorf("the set of %s at revision %d isn't known", p.scope, p.view.Revision)
			}
		}
	})
}

func TestAWipedStoreLeavesWhatWasBeforeTheRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, mem, _ := start(t, 30)
		r := stage(t, c, "r1", rollout.Rolling, rollout.Regions, []string{"eu", "rest"}, []proto.Message{server("s1", "2"), server("made", "2")})
		r.to(rollout.Rolling, 1)
		quiet()
		mem.Wipe()
		quiet()
		eu, us, st := c.Views().Current(at("eu")), c.Views().Current(at("us")), c.Views().Status()
		if eu != us || eu.Set.Len() != 30 || len(st.Held) == 0 || c.Views().Active() != nil {
			t.Errorf("%d and %d objects, %d held; want the 30 that were there before for both", eu.Set.Len(), us.Set.Len(), len(st.Held))
		}
		if n := len(versions(eu)); n != 30 || slices.Contains(versions(eu), "s1=2") {
			t.Errorf("%d servers, or the staged version is left: %q", n, versions(eu))
		}
		c.Views().Confirm()
		quiet()
		if n := c.Views().Current(at("eu")).Set.Len(); n != 0 {
			t.Errorf("%d objects are left after confirming", n)
		}
	})
}

// After a restore the store has another epoch, and the rollout is a step back.
func TestARestoreInTheMiddleOfARolloutGivesTheRingsOfThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New()
		c := cptest.New(t, cptest.Config{Store: mem})
		c.Put(server("a", "1"), server("gone", "1"))
		quiet()
		r := stage(t, c, "r1", rollout.Rolling, rollout.Regions, []string{"eu", "us", "rest"},
			[]proto.Message{server("a", "2"), server("made", "2")}, confset.Key{Kind: "server", Name: "gone"})
		r.to(rollout.Rolling, 2)
		tells(t, c, at("us"), "a=2", "made=2")
		was := c.Views().Current(at("us"))
		out(mem)
		r.body.Step = 1
		if _, err := mem.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.to(rollout.Rolling, 1) // what stood in the backup
		mem.NewEpoch()
		tells(t, c, at("eu"), "a=2", "made=2")
		tells(t, c, at("us"), "a=1", "gone=1")
		now := c.Views().Current(at("us"))
		if now.Epoch == was.Epoch || now.DeltaAfter(was.Epoch, was.Revision) != nil || now.Delta(was.Digest()) == nil {
			t.Error("the epoch is the old one, or its revisions lead on, or the set of before isn't known any more")
		}
		if id, ok := c.Views().Staged(confset.Key{Kind: "server", Name: "gone"}); !ok || id != "r1" {
			t.Errorf("a deleted object is held by %q", id)
		}
		if _, err := mem.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.undo()
		tells(t, c, at("eu"), "a=1", "gone=1")
		tells(t, c, at("us"), "a=1", "gone=1")
	})
}

func TestARolloutThatIsAbortedInTheQueueTakesNothingFromTheOneUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cptest.New(t, cptest.Config{})
		c.Put(server("a", "1"), server("b", "1"))
		waits := stage(t, c, "r1", rollout.Queued, rollout.Regions, []string{"us", "rest"}, []proto.Message{server("b", "2")})
		goes := stage(t, c, "r2", rollout.Rolling, rollout.Regions, []string{"eu", "rest"}, []proto.Message{server("a", "2")})
		goes.to(rollout.Rolling, 1)
		tells(t, c, at("eu"), "a=2", "b=1")
		for _, state := range []string{rollout.Aborting, rollout.Paused} { // the latter when it can't be taken back
			waits.to(state, 0)
			tells(t, c, at("eu"), "a=2", "b=1")
			tells(t, c, at("us"), "a=1", "b=1")
			if id := c.Views().Active().Body.GetChange(); id != "r2" {
				t.Errorf("while the other is %s, %s is active", state, id)
			}
		}
		waits.undo()
		goes.to(rollout.Done, 2)
		tells(t, c, at("us"), "a=2", "b=1")
	})
}

package controlplane_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/storetest"
	"github.com/hopgate/hopgate/proto/attr"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// stage makes a server by a staged change to the region eu, and returns the change.
func stage(t *testing.T, s store.Store, name string) string {
	t.Helper()
	body, err := rules.Body(server(name))
	if err != nil {
		t.Fatal(err)
	}
	w := storetest.Put(storetest.Head("server", name, string(body)))
	made := w.Puts[0].Object
	plan, vs := rollout.Plan(&adminv1.RolloutPlan{Strategy: rollout.Regions, Steps: []string{"eu"}})
	if len(vs) > 0 {
		t.Fatal(vs)
	}
	objects := []*adminv1.StagedObject{{Kind: "server", Name: name, Uid: made.UID, After: made.Hash[:]}}
	h, err := rollout.Head(rollout.New(w.Record.ID, "ann", "", "", plan, objects, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	w.Puts, w.Expect = append(w.Puts, h), append(w.Expect, store.Precondition{Key: h.Object.Key})
	w.Record.Objects = append(w.Record.Objects, store.Changed{Kind: rollout.Kind, Name: w.Record.ID, UID: h.Object.UID, After: h.Object.Hash.String()})
	if _, err := s.Commit(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return w.Record.ID
}

// The data planes of a control plane that stops go one after the other, and the first of them are away for longer than one that vanished.
func TestAControlPlaneThatStopsMissesNobody(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t)
	s := cluster(t, addr)
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	fill(t, s, 2, 2)
	p := run(t, addr, filepath.Join(t.TempDir(), "kek"))
	first := follow(t, p, &syncv1.Hello{Node: "dp-1", Region: "eu", FeatureLevel: 1, BootId: "one"})
	last := follow(t, p, &syncv1.Hello{Node: "dp-2", Region: "eu", FeatureLevel: 1, BootId: "two"})
	first.take()
	last.take()
	id := stage(t, s, "new")
	first.takeOne()
	last.takeOne()
	if open, leads := p.gauge(t, attr.MetricRolloutsOpen), p.gauge(t, attr.MetricRolloutLeader); open != 1 || leads != 1 {
		t.Errorf("%v rollouts are open, %v lead", open, leads)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- p.stop() }()
	if first.next().GetMove() == nil || last.next().GetMove() == nil {
		t.Error("the data planes aren't asked to move")
	}
	first.leave()
	later := time.NewTimer(rollout.VanishedAfter + time.Second)
	defer later.Stop()
	select {
	case <-later.C:
	case err := <-stopped:
		t.Errorf("it didn't wait for its data planes: %v", err)
	}
	last.leave()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	h, err := s.Get(t.Context(), rollout.Key(id))
	if err != nil {
		t.Fatal(err)
	}
	if st, err := rollout.Parse(h.Object.Body, h.Revision); err != nil || st.Body.GetState() != rollout.Rolling {
		t.Errorf("%v: %s: %s", err, st.Body.GetState(), st.Body.GetReason())
	}
}

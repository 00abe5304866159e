package api_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

const byCanary = `"rollout":{"strategy":"canary","steps":["1","100%"],"bake":"1m"}`

// holding is an index that knows what open rollouts hold.
type holding struct{ storeIndex }

func (x holding) Staged(key confset.Key) (string, bool) {
	for _, h := range x.List(rollout.Kind, "", 1000) {
		if st, err := rollout.Parse(h.Object.Body, h.Revision); err == nil && st.Open() && slices.Contains(st.Keys(), key) {
			return h.Object.Key.Name, true
		}
	}
	return "", false
}

// stagedFleet tells apart who was asked about a delivery.
type stagedFleet struct{ fleet }

func (stagedFleet) StagedDelivery(_ *rollout.State, _ int64, objects []confset.Key) *adminv1.Delivery {
	return &adminv1.Delivery{Nodes: 1, Applied: int32(len(objects))} //nolint:gosec // few
}

func rolling(c *api.Config, _ *admit.Config) {
	c.Index, c.Fleet = holding{storeIndex{c.Store}}, stagedFleet{}
	c.Live = func(st *rollout.State) []*adminv1.RolloutRegion {
		return []*adminv1.RolloutRegion{{Region: st.Body.GetState(), Nodes: 3}}
	}
	c.Waits = func(st *rollout.State) string { return "waits since it is " + st.Body.GetState() }
}

// after is an id right behind another.
func after(t testing.TB, id string) string {
	u, err := ulid.ParseStrict(id)
	if err == nil {
		err = u.SetTime(u.Time() + 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	return u.String()
}

// bring writes a rollout's state past the API, as the leader does.
func (p *plane) bring(change, state string, step int32) {
	p.Helper()
	ctx := context.Background()
	h, err := p.store.Get(ctx, confset.Key{Kind: rollout.Kind, Name: change})
	if err != nil {
		p.Fatal(err)
	}
	st, err := rollout.Parse(h.Object.Body, h.Revision)
	if err != nil {
		p.Fatal(err)
	}
	m := proto.CloneOf(st.Body)
	m.State, m.Step = state, step
	body, err := proto.Marshal(m)
	if err != nil {
		p.Fatal(err)
	}
	newest, err := p.store.Changes(ctx, "", 1)
	if err != nil {
		p.Fatal(err)
	}
	was := h
	h.Object = confset.NewObject(h.Object.Key, h.Object.UID, body)
	h.Change = after(p, newest[0].ID)
	rec := store.ChangeRecord{ID: h.Change, Author: "hopgate", Time: time.Now(), Parent: newest[0].ID, Objects: []store.Changed{
		{Kind: rollout.Kind, Name: change, UID: h.Object.UID, Before: was.Object.Hash.String(), After: h.Object.Hash.String()}}}
	if _, err := p.store.Commit(ctx, store.Write{Record: rec, Expect: []store.Precondition{{Key: h.Object.Key, Revision: was.Revision}}, Puts: []store.Head{h}}); err != nil {
		p.Fatal(err)
	}
}

func TestAStagedChangeIsOneWriteWithItsRollout(t *testing.T) {
	p := start(t, memstore.New(), rolling)
	p.change(`{"objects":[` + serverAt("a", 1) + `,` + serverAt("gone", 1) + `]}`)
	a := p.must(200, "GET", "/v1/servers/a", "")
	body := `{"message":"try","request_id":"01BX5ZZKBKACTAV9WEVGEMMVRZ","objects":[` + serverAt("a", 2) + `,` + serverAt("new", 2) + `],"deletions":[{"kind":"server","name":"gone"}],` + byCanary + `}`
	made := p.must(200, "POST", "/v1/changes", body)
	id := str(made, "id")
	ro, _ := at(made, "rollout").(map[string]any)
	if id == "" || str(ro, "change") != id || str(ro, "plan", "strategy") != "canary" || len(at(ro, "steps").([]any)) != 2 || str(ro, "author") != "master" || str(ro, "message") != "try" {
		t.Fatalf("the rollout: %v", made)
	}
	staged, _ := at(ro, "objects").([]any)
	if len(staged) != 3 || str(staged[0], "uid") != str(a, "meta", "uid") || str(staged[0], "generation") != "1" || str(staged[0], "before") == "" || str(staged[0], "after") == "" ||
		str(staged[0], "create_time") == "" || at(staged[1], "before") != nil || str(staged[1], "uid") == "" || at(staged[2], "after") != nil {
		t.Errorf("what was before: %v", staged)
	}
	if again := p.must(200, "POST", "/v1/changes", body); str(again, "id") != id || str(again, "rollout", "change") != id {
		t.Errorf("repeated: %v", again)
	}
	got := p.must(200, "GET", "/v1/changes/"+id, "")
	if str(got, "rollout", "regions", 0, "region") == "" || at(got, "delivery", "nodes") != 1.0 || at(got, "delivery", "applied") != 3.0 {
		t.Errorf("the change: %v", got)
	}
	p.bring(id, rollout.Done, 2)
	if got := p.must(200, "GET", "/v1/changes/"+id, ""); str(got, "rollout", "state") != "done" || at(got, "delivery", "nodes") != 2.0 {
		t.Errorf("when it is done: %v", got)
	}
	if got := fmt.Sprint(at(p.must(200, "GET", "/v1/changes?page_size=1", ""), "changes", 0, "objects", 0)); !strings.Contains(got, "action:updated") || !strings.Contains(got, "kind:rollout") {
		t.Errorf("a step in the history: %v", got)
	}
	if got := differences(p.must(200, "GET", "/v1/diff?to="+id, "")); strings.Contains(got, "rollout") || !strings.Contains(got, "server/new created") {
		t.Errorf("the diff: %s", got)
	}
	p.revert(200, id, `{}`)
	p.must(404, "GET", "/v1/servers/new", "")
	if got := p.must(200, "GET", "/v1/rollouts/"+id, ""); str(got, "state") != "done" {
		t.Errorf("a revert touched the rollout: %v", got)
	}
}

func TestWhatIsntStagedLeavesNoRollout(t *testing.T) {
	p := start(t, memstore.New(), rolling)
	first := p.must(200, "POST", "/v1/changes", `{"objects":[`+serverAt("a", 1)+`],"rollout":{"strategy":"immediate"}}`)
	same := p.must(200, "POST", "/v1/changes", `{"objects":[`+serverAt("a", 1)+`],`+byCanary+`}`)
	dry := p.must(200, "POST", "/v1/changes", `{"validate_only":true,"objects":[`+serverAt("a", 2)+`],"rollout":{"strategy":"canary"}}`)
	if at(first, "rollout") != nil || at(same, "rollout") != nil || str(same, "id") != "" {
		t.Errorf("at once %v, nothing changed %v", first, same)
	}
	if str(dry, "rollout", "plan", "bake") != "30s" || str(dry, "rollout", "steps", 0, "name") != "1" || at(dry, "rollout", "change") != nil ||
		str(dry, "objects", 0, "fields", 0, "path") == "" || len(at(dry, "objects").([]any)) != 1 {
		t.Errorf("dry run: %v", dry)
	}
	if got := p.must(200, "GET", "/v1/rollouts", ""); len(at(got, "rollouts").([]any)) != 0 {
		t.Errorf("stored: %v", got)
	}
	for body, want := range map[string]string{
		`{"owner":"f.yaml","objects":[` + serverAt("b", 1) + `],` + byCanary + `}`:               "rollout: is given with an owner; give one of them: what a file owns reaches the fleet at once",
		`{"objects":[` + serverAt("b", 1) + `],"rollout":{"strategy":"slowly"}}`:                 "rollout.strategy: ",
		`{"validate_only":true,"objects":[` + serverAt("b", 1) + `],"rollout":{"strategy":"x"}}`: "rollout.strategy: ",
	} {
		if got := str(p.must(400, "POST", "/v1/changes", body), "message"); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", body, got)
		}
	}
}

func TestAStagedChangeThatDoesntFitIsRefused(t *testing.T) {
	s := memstore.New()
	s.SetLimits(store.Limits{Objects: 2, Bytes: 1 << 20, Flag: "--max-txn-ops"})
	p := start(t, s, rolling)
	two := `"objects":[` + serverAt("a", 1) + `,` + serverAt("b", 1) + `]`
	for _, dry := range []string{"", `"validate_only":true,`} {
		got := str(p.must(400, "POST", "/v1/changes", `{`+dry+two+`,`+byCanary+`}`), "message")
		if want := "rollout: doesn't fit: 3 objects in a change with its rollout, at most 2 are possible (raise --max-txn-ops and the store's own limit); stage fewer objects at a time"; got != want {
			t.Errorf("%q", got)
		}
	}
	p.change(`{` + two + `}`)
	p.change(`{"objects":[` + serverAt("a", 2) + `],` + byCanary + `}`)
}

func TestNobodyElseWritesWhatIsStaged(t *testing.T) {
	t.Run("by the index", func(t *testing.T) { nobodyElse(t, rolling) })
	t.Run("by the store", func(t *testing.T) { nobodyElse(t, func(*api.Config, *admit.Config) {}) })
	t.Run("by an index that is behind", func(t *testing.T) {
		nobodyElse(t, func(c *api.Config, _ *admit.Config) { c.Index = stuck{holding{storeIndex{c.Store}}} })
	})
	t.Run("by views", func(t *testing.T) {
		s := memstore.New()
		nobodyElseIn(t, s, overViews(t, s))
	})
}

// stuck is an index that never catches up.
type stuck struct{ holding }

func (stuck) Revision() int64 { return 1 }

func nobodyElse(t *testing.T, opts ...option) { nobodyElseIn(t, memstore.New(), opts...) }

func nobodyElseIn(t *testing.T, s *memstore.Store, opts ...option) {
	p := start(t, s, opts...)
	before := p.change(`{"set":"prod","objects":[` + serverAt("a", 1) + `,` + serverAt("gone", 1) + `,` + serverAt("free", 1) + `]}`)
	id := p.change(`{"objects":[` + serverAt("a", 2) + `,` + serverAt("new", 2) + `],"deletions":[{"kind":"server","name":"gone"}],` + byCanary + `}`)
	p.bring(id, rollout.Rolling, 1)
	want := func(name string) string {
		return `server "` + name + `" can't be written: the staged change ` + id + ` has it and is rolling at step 1 of 2; wait until it is done (hopgate rollout status ` + id +
			`) or end it first (hopgate rollout abort ` + id + `)`
	}
	for what, c := range map[string][4]string{
		"put":            {"PUT", "/v1/servers/a", demo, "a"},
		"update":         {"PATCH", "/v1/servers/new", `{"labels":{"x":"y"}}`, "new"},
		"put of deleted": {"PUT", "/v1/servers/gone", demo, "gone"},
		"delete":         {"DELETE", "/v1/servers/new", "", "new"},
		"dry run":        {"PUT", "/v1/servers/a?validate_only=true", demo, "a"},
		"apply":          {"POST", "/v1/changes", `{"objects":[` + serverAt("a", 3) + `]}`, "a"},
		"another stage":  {"POST", "/v1/changes", `{"objects":[` + serverAt("a", 3) + `],` + byCanary + `}`, "a"},
		"prune":          {"POST", "/v1/changes", `{"set":"prod","prune":true,"objects":[` + serverAt("free", 1) + `]}`, "a"},
		"revert":         {"POST", "/v1/changes/" + before + ":revert", `{"force":true}`, "a"},
	} {
		if what == "put of deleted" && t.Name() == "TestNobodyElseWritesWhatIsStaged/by_the_store" {
			continue // only an index knows of what is gone
		}
		a := p.do(c[0], c[1], c[2])
		text := strings.ReplaceAll(a.body, `\"`, `"`)
		if a.status != 400 || !strings.Contains(text, `"code":9`) || !strings.Contains(text, want(c[3])[:40]) || !strings.Contains(a.body, `"reason":"STAGED"`) || !strings.Contains(a.body, `"change":"`+id+`"`) {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	if got := str(p.must(400, "PUT", "/v1/servers/a", demo), "message"); got != want("a") {
		t.Errorf("the answer: %q", got)
	}
	p.must(200, "POST", "/v1/changes", `{"objects":[`+serverAt("a", 2)+`]}`) // it is as wanted: nothing is written
	if got := str(p.revert(400, id, `{}`), "message"); got != "change "+id+" is staged and rolling at step 1 of 2: abort it instead, which leaves everything as it was before (hopgate rollout abort "+id+")" {
		t.Errorf("revert of it: %q", got)
	}
	p.must(200, "PUT", "/v1/servers/free", demo)
	p.bring(id, rollout.Done, 2)
	p.must(200, "PUT", "/v1/servers/a", demo)
	p.must(200, "PUT", "/v1/servers/gone", demo)
}

func TestOperatorsSteerARollout(t *testing.T) {
	p := start(t, memstore.New(), rolling)
	withKeys(p)
	id := p.change(`{"objects":[` + serverAt("a", 1) + `],` + byCanary + `}`)
	path := "/v1/rollouts/" + id
	if got := str(p.must(400, "POST", path+":pause", `{}`), "message"); got != `rollout "`+id+`" is queued, so it can't pause; possible is: abort` {
		t.Errorf("queued: %q", got)
	}
	p.bring(id, rollout.Rolling, 1)
	seen := p.as(viewerKey).must(200, "GET", path, "")
	p.as(viewerKey).must(403, "POST", path+":abort", `{}`)
	paused := p.must(200, "POST", path+":pause", `{"message":"lunch","etag":"`+str(seen, "etag")+`"}`)
	if str(paused, "state") != "paused" || str(paused, "reason") != "paused by master: lunch" || str(paused, "etag") == str(seen, "etag") || str(paused, "regions", 0, "region") != "paused" {
		t.Errorf("paused: %v", paused)
	}
	if a := p.do("POST", path+":resume", `{"etag":"`+str(seen, "etag")+`"}`); a.status != 412 || !strings.Contains(a.body, "STALE_ETAG") {
		t.Errorf("stale: %d %s", a.status, a.body)
	}
	if got := p.as(adminKey).must(200, "POST", path+":resume", `{}`); str(got, "state") != "rolling" || str(got, "reason") != "waits since it is rolling" || at(got, "step") != 1.0 {
		t.Errorf("resumed: %v", got)
	}
	if got := p.must(200, "GET", path, ""); str(got, "state") != "rolling" {
		t.Errorf("read: %v", got)
	}
	if got := p.must(200, "POST", path+":abort", `{"message":"no"}`); str(got, "state") != "aborting" || str(got, "reason") != "aborted by master: no" {
		t.Errorf("aborted: %v", got)
	}
	for state, want := range map[string]string{
		rollout.Aborting: "is aborting, so it can't abort; wait until it is aborted",
		rollout.Done:     "is done, so it can't abort; revert the change to undo it",
		rollout.Reverted: "is reverted, so it can't abort; nothing can be done to it any more",
	} {
		p.bring(id, state, 1)
		a := p.do("POST", path+":abort", `{}`)
		if a.status != 400 || !strings.Contains(a.body, want) || !strings.Contains(a.body, `"reason":"ROLLOUT_STATE"`) {
			t.Errorf("%s: %d %s", state, a.status, a.body)
		}
	}
	p.must(404, "POST", "/v1/rollouts/01BX5ZZKBKACTAV9WEVGEMMVRZ:abort", `{}`)
	p.must(404, "GET", "/v1/rollouts/nope", "")
	p.must(400, "POST", path+":pause", `{"message":"`+strings.Repeat("x", 5000)+`"}`)
	var steps []string
	for _, c := range at(p.must(200, "GET", "/v1/changes", ""), "changes").([]any) {
		if str(c, "author") != "hopgate" && str(c, "objects", 0, "kind") == rollout.Kind {
			steps = append(steps, str(c, "author")+" "+str(c, "message"))
		}
	}
	if got := fmt.Sprint(steps); got != "[master no operator resume of "+id+" master lunch]" {
		t.Errorf("records: %s", got)
	}
	audited := slices.ContainsFunc(p.log.lines(t), func(m map[string]any) bool {
		return m["method"] == "PauseRollout" && m["outcome"] == "ok" && m["objects"] == "rollout/"+id && m["change"] != nil
	})
	if !audited {
		t.Errorf("no audit line:\n%s", p.log)
	}
}

func TestRolloutsAreListedNewestFirst(t *testing.T) {
	p := start(t, memstore.New(), rolling)
	var want []string
	for i := range 5 {
		want = append([]string{p.change(`{"objects":[` + serverAt(fmt.Sprint("s", i), 1) + `],` + byCanary + `}`)}, want...)
	}
	var got []string
	for token := ""; ; {
		page := p.must(200, "GET", "/v1/rollouts?page_size=2&page_token="+token, "")
		for _, r := range at(page, "rollouts").([]any) {
			got = append(got, str(r, "change"))
		}
		if token = str(page, "next_page_token"); token == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The real index has the rollout as soon as the answer is there.
func TestARolloutIsReadFromTheIndexOfViews(t *testing.T) {
	s := memstore.New()
	p := start(t, s, overViews(t, s))
	id := p.change(`{"objects":[` + serverAt("a", 1) + `],` + byCanary + `}`)
	if got := p.must(200, "GET", "/v1/rollouts/"+id, ""); str(got, "change") != id {
		t.Errorf("%v", got)
	}
	p.must(400, "PUT", "/v1/servers/a", demo)
	p.must(200, "POST", "/v1/rollouts/"+id+":abort", `{}`)
	if got := p.must(200, "GET", "/v1/rollouts/"+id, ""); str(got, "state") != "aborting" {
		t.Errorf("%v", got)
	}
}

// Rollouts never leave home: a relay says so, instead of that there are none.
func TestARelayDoesNotSayThatThereAreNoRollouts(t *testing.T) {
	s := memstore.New()
	p := start(t, s, rolling, func(c *api.Config, _ *admit.Config) {
		c.Home = func() (string, time.Duration) { return "cp.example.com:4002", 0 }
	})
	s.SetDown() // as the store of a relay answers what only home can
	for _, path := range []string{"/v1/rollouts", "/v1/rollouts/01BX5ZZKBKACTAV9WEVGEMMVRZ"} {
		p.must(503, "GET", path, "")
	}
	p.must(503, "POST", "/v1/rollouts/01BX5ZZKBKACTAV9WEVGEMMVRZ:abort", `{}`)
}

func TestRolloutsWithOddNamesAreNotFound(t *testing.T) {
	p := start(t, memstore.New(), rolling)
	id := p.change(`{"objects":[` + serverAt("a", 1) + `],` + byCanary + `}`)
	for _, odd := range []string{"a%2Fb", "%2e%2e", "%00", "a%0Ab", "%F0%9F%90%99", "a%20b", "a:b", "~", strings.Repeat("x", 300), strings.ToLower(id), id + "%2F"} {
		for _, call := range [][2]string{{"GET", ""}, {"POST", ":pause"}, {"POST", ":abort"}} {
			body := ""
			if call[0] == "POST" {
				body = `{}`
			}
			if a := p.do(call[0], "/v1/rollouts/"+odd+call[1], body); a.status != 404 && a.status != 400 {
				t.Errorf("%s /v1/rollouts/%s%s: %d %s", call[0], odd, call[1], a.status, a.body)
			}
		}
	}
	if got := p.must(200, "GET", "/v1/rollouts/"+id, ""); str(got, "state") != "queued" {
		t.Errorf("%v", got)
	}
}

func TestAViewerMayOnlyLookAtRollouts(t *testing.T) {
	p := start(t, memstore.New(), rolling)
	id := p.change(`{"objects":[` + serverAt("a", 1) + `],` + byCanary + `}`)
	const key = "sk-viewer-0123456789abcdef0123456789"
	p.must(200, "PUT", "/v1/apikeys/eye", `{"spec":{"sha256":"`+sum(key)+`","roles":["viewer"]}}`)
	eye := p.as(key)
	eye.must(200, "GET", "/v1/rollouts", "")
	eye.must(200, "GET", "/v1/rollouts/"+id, "")
	for _, verb := range []string{"pause", "resume", "abort"} {
		eye.must(403, "POST", "/v1/rollouts/"+id+":"+verb, `{}`)
	}
	eye.must(403, "POST", "/v1/changes", `{"objects":[`+serverAt("b", 1)+`],`+byCanary+`}`)
}

package table_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/overlay"
	"github.com/hopgate/hopgate/proto/rules"
)

func over(tb testing.TB, name, region, group string, patch *configv1.ServerSpec, clear ...string) confset.Object {
	return overlaying(tb, name, &configv1.OverlaySpec{Kind: "server", Target: "a", Region: region, Group: group, Clear: clear, Patch: &configv1.OverlaySpec_Server{Server: patch}})
}

func overlaying(tb testing.TB, name string, s *configv1.OverlaySpec) confset.Object {
	return object(tb, "overlay", name, &configv1.Overlay{Name: name, Spec: s})
}

func total(s string) *configv1.ServerSpec {
	return &configv1.ServerSpec{Timeouts: &configv1.Timeouts{Total: s}}
}

func edge() *table.Table { return table.New(table.Config{Region: "eu", Group: "edge"}) }

// inForce is the total timeout of server a; negative: it isn't served.
func inForce(t *table.Table) time.Duration {
	if s, ok := t.Server("a"); ok {
		return s.Timeouts.Total
	}
	return -1
}

func want(tb testing.TB, t *table.Table, outs []string, total time.Duration, lines ...string) {
	tb.Helper()
	if got := inForce(t); got != total {
		tb.Errorf("served with %v, want %v", got, total)
	}
	if !slices.EqualFunc(outs, lines, func(got, want string) bool { return strings.HasPrefix(got, want) }) {
		tb.Errorf("outcomes\n%s\nwant\n%s", strings.Join(outs, "\n"), strings.Join(lines, "\n"))
	}
}

func TestOverlaysForThisPlaceAreLaidOverTheirTarget(t *testing.T) {
	a := server(t, "a", spec(at("http://127.0.0.1:1/mcp")))
	tb, outs := apply(edge(), over(t, "o", "eu", "", total("1s")), a)
	want(t, tb, outs, time.Second)
	tb, outs = apply(tb, over(t, "away", "us", "", total("9s")))
	want(t, tb, outs, time.Second)
	before, _ := tb.Server("a")
	tb, outs = apply(tb, over(t, "g", "", "edge", total("2s")))
	want(t, tb, outs, 2*time.Second)
	if s, _ := tb.Server("a"); s.Hash == before.Hash || s.Hash == a.Hash || s.UID != a.UID {
		t.Error("the served whole has the identity of other content")
	}
	tb, outs = apply(tb, over(t, "g", "", "core", total("2s"))) // moved away
	want(t, tb, outs, time.Second)
	tb, outs = remove(tb, "overlay", "o")
	want(t, tb, outs, 0)
	if s, _ := tb.Server("a"); s.Hash != a.Hash {
		t.Error("not the object itself again")
	}
	tb, outs = apply(tb, over(t, "o", "eu", "", total("3s")))
	want(t, tb, outs, 3*time.Second)
	tb, outs = remove(tb, "server", "a")
	want(t, tb, outs, -1)
	tb, outs = apply(tb, a)
	want(t, tb, outs, 3*time.Second)
}

func TestABadOverlayIsAFaultOfItsTarget(t *testing.T) {
	a := server(t, "a", &configv1.ServerSpec{Endpoints: spec(at("http://127.0.0.1:1/mcp")).GetEndpoints(), Timeouts: &configv1.Timeouts{Total: "5s"}})
	bad := over(t, "o", "eu", "", total("soon"))
	tb, _ := apply(edge(), a)
	tb, outs := apply(tb, bad)
	want(t, tb, outs, 5*time.Second, `overlay/o rejected : server/a is refused with it: spec.timeouts.total "soon" is not a duration`,
		`server/a rejected spec.timeouts.total: "soon" is not a duration; write it like 500ms, 30s or 5m (with overlay o)`)
	if tb.Rejected() != 2 {
		t.Errorf("%d rejected", tb.Rejected())
	}
	tb, outs = remove(tb, "overlay", "o")
	want(t, tb, outs, 5*time.Second, "server/a warned spec.timeouts.total: its overlays changed; served again")
	if tb.Rejected() != 0 || len(tb.Outcomes()) != 0 {
		t.Errorf("%v", tb.Outcomes())
	}
	tb, outs = apply(edge(), a, bad) // from the start: never without it
	want(t, tb, outs, -1, `overlay/o rejected : server/a is refused with it: `, `server/a rejected spec.timeouts.total: `)
}

// A staged overlay is taken back when data planes refuse it: what stands against the object isn't enough, since that isn't staged.
func TestAnOverlayIsRefusedAsLongAsItsTargetIsBecauseOfIt(t *testing.T) {
	internal := func(s string) *configv1.ServerSpec { return &configv1.ServerSpec{ReachableFrom: s} }
	good, away, bad := over(t, "good", "eu", "", internal("internal")), over(t, "away", "us", "", total("soon")), over(t, "bad", "", "edge", total("soon"))
	a := server(t, "a", spec(at("http://127.0.0.1:1/mcp")))
	tb, outs := apply(edge(), a, good, away, bad)
	want(t, tb, outs, -1, "overlay/bad rejected : server/a is refused with it", "overlay/good rejected : server/a is refused with it", "server/a rejected")
	tb, outs = apply(tb, over(t, "bad", "", "edge", total("7s")))
	want(t, tb, outs, 7*time.Second, "overlay/good warned : what it changes is no longer refused because of it", "server/a warned spec.timeouts.total: its overlays changed; served again")
	tb, outs = apply(tb, server(t, "a", spec())) // bad by itself
	want(t, tb, outs, 7*time.Second, "server/a rejected spec.endpoints: is empty")
	tb, _ = apply(tb, a, bad)
	tb, outs = remove(tb, "server", "a")
	want(t, tb, outs, -1, "overlay/bad warned : what it changes is no longer refused", "overlay/good warned : what it changes is no longer refused")
	if tb.Rejected() != 0 || len(tb.Outcomes()) != 0 {
		t.Errorf("%v", tb.Outcomes())
	}
	tb, outs = apply(tb, a)
	want(t, tb, outs, -1, "overlay/bad rejected", "overlay/good rejected", "server/a rejected")
	if tb, _ = remove(tb, "overlay", "bad"); tb.Rejected() != 0 || inForce(tb) != 0 {
		t.Errorf("%v", tb.Outcomes())
	}
}

// Every order in which object and overlay come, and as one delta, ends in the same, and never without the restriction in between.
func TestARestrictionIsInForceHoweverItCame(t *testing.T) {
	a := server(t, "a", spec(at("http://127.0.0.1:1/mcp")))
	inside := over(t, "inside", "eu", "", &configv1.ServerSpec{ReachableFrom: "internal"})
	narrow := over(t, "narrow", "", "edge", &configv1.ServerSpec{AllowedCidrs: []string{"10.0.0.0/8"}})
	again := server(t, "a", &configv1.ServerSpec{Endpoints: spec(at("http://127.0.0.1:2/mcp")).GetEndpoints()})
	restricted := func(tb *table.Table) bool {
		s, ok := tb.Server("a")
		return !ok || s.Internal && !s.Ranges.Empty()
	}
	for name, steps := range map[string][][]confset.Object{
		"together":                 {{a, inside, narrow}},
		"overlays first":           {{inside}, {narrow}, {a}},
		"one each side":            {{inside, narrow}, {a}},
		"target again":             {{a, inside, narrow}, {again}},
		"all again":                {{a, inside, narrow}, {inside, again, narrow}},
		"one overlay again":        {{a, inside, narrow}, {narrow}},
		"target and overlay again": {{a, inside, narrow}, {narrow, again}},
	} {
		tb := edge()
		for i, objs := range steps {
			if tb, _ = apply(tb, objs...); !restricted(tb) {
				t.Errorf("%s: step %d serves it without", name, i)
			}
		}
		if s, ok := tb.Server("a"); !ok || tb.Rejected() > 0 {
			t.Errorf("%s: %v %v", name, s, tb.Outcomes())
		}
	}
}

// What a data plane could be sent by one that is broken costs the objects that it is about, at most.
func TestGarbageInPlaceOfAnOverlay(t *testing.T) {
	a := server(t, "a", spec(at("http://127.0.0.1:1/mcp")))
	whole := over(t, "o", "eu", "", &configv1.ServerSpec{ReachableFrom: "internal"}).Body
	r := rand.New(rand.NewPCG(1, 9))
	for i := range 4000 {
		body := slices.Clone(whole)
		switch i % 3 {
		case 0:
			body = body[:r.IntN(len(body))]
		case 1:
			body[r.IntN(len(body))] = byte(r.IntN(256))
		default:
			body = slices.Insert(body, r.IntN(len(body)), byte(r.IntN(256)))
		}
		key := confset.Key{Kind: "overlay", Name: "o"}
		tb, _ := apply(edge(), a, confset.NewObject(key, "u", body))
		if target, ok := overlay.Target(body); ok && target == (confset.Key{Kind: "server", Name: "a"}) && tb.Rejected() == 0 {
			s, served := tb.Server("a")
			m := new(configv1.Overlay)
			if err := proto.Unmarshal(body, m); err != nil || served && s.Internal != (m.GetSpec().GetRegion() == "eu" && m.GetSpec().GetServer().GetReachableFrom() == "internal") {
				t.Fatalf("%x: %v is served", body, s)
			}
		}
		if tb, _ = remove(tb, "overlay", "o"); inForce(tb) != 0 || tb.Rejected() != 0 {
			t.Fatalf("%x: %v", body, tb.Outcomes())
		}
	}
}

func TestAnOverlayOfALaterVersionRefusesItsTarget(t *testing.T) {
	a := server(t, "a", spec(at("http://127.0.0.1:1/mcp")))
	later := protowire.AppendString(protowire.AppendTag(nil, 4000, protowire.BytesType), "zone")
	zoned := &configv1.OverlaySpec{Kind: "server", Target: "a"}
	zoned.ProtoReflect().SetUnknown(later)
	tb, outs := apply(edge(), a, overlaying(t, "z", zoned))
	want(t, tb, outs, -1, "overlay/z rejected : server/a is refused with it: ", "server/a rejected : the overlay z has fields not known to this version; upgrade the data plane or change the overlay (with overlay z)")
	away := &configv1.OverlaySpec{Kind: "server", Target: "a", Region: "us"}
	away.ProtoReflect().SetUnknown(later)
	tb, outs = apply(edge(), a, overlaying(t, "z", away))
	want(t, tb, outs, 0)

	patch := total("1s")
	patch.ProtoReflect().SetUnknown(later)
	tb, outs = apply(edge(), a, over(t, "o", "eu", "", patch)) // like an unknown field of the server
	want(t, tb, outs, time.Second, "server/a warned : has fields not known to this version")
	tb, outs = apply(edge(), a, confset.NewObject(confset.Key{Kind: "overlay", Name: "x"}, "u", append(over(t, "x", "eu", "", total("1s")).Body, 0xff)))
	want(t, tb, outs, -1, "overlay/x warned : is not a valid overlay", "overlay/x rejected : server/a is refused with it: the overlay x can't be read", "server/a rejected : the overlay x can't be read") // but what it is for
}

func TestOverlaysOfOtherKinds(t *testing.T) {
	tb, outs := apply(edge(), settings(t, &configv1.SettingsSpec{Limits: &configv1.Limits{Depth: 64}}),
		overlaying(t, "s", &configv1.OverlaySpec{Kind: "settings", Target: "default", Region: "eu", Patch: &configv1.OverlaySpec_Settings{Settings: &configv1.SettingsSpec{Limits: &configv1.Limits{Depth: 32}}}}),
		ingress(t, "i", &configv1.IngressSpec{PublicOrigins: []string{"https://a.example.com"}}),
		overlaying(t, "i", &configv1.OverlaySpec{Kind: "ingress", Target: "i", Group: "edge", Patch: &configv1.OverlaySpec_Ingress{Ingress: &configv1.IngressSpec{PublicOrigins: []string{"https://b.example.com"}}}}))
	if len(outs) > 0 || tb.Settings().Depth != 32 || !slices.Equal(tb.Ingress().Public, []string{"https://b.example.com"}) {
		t.Errorf("%v %d %v", outs, tb.Settings().Depth, tb.Ingress().Public)
	}
	tb, _ = remove(tb, "overlay", "s")
	tb, _ = remove(tb, "overlay", "i")
	if tb.Settings().Depth != 64 || !slices.Equal(tb.Ingress().Public, []string{"https://a.example.com"}) {
		t.Errorf("%d %v", tb.Settings().Depth, tb.Ingress().Public)
	}
}

// However overlays and target come and go, what is served is what Explain says of them.
func TestWhatIsServedIsWhatExplainSays(t *testing.T) {
	here := overlay.Place{Region: "eu", Group: "edge"}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		pick := func(of ...string) string { return of[r.IntN(len(of))] }
		tb, all := edge(), map[string]*configv1.Overlay{}
		base := &configv1.Server{Name: "a", Spec: spec(at("http://127.0.0.1:1/mcp"))}
		tb, _ = apply(tb, object(t, "server", "a", base))
		for range 20 {
			name := pick("x", "y", "z")
			switch r.IntN(4) {
			case 0:
				tb, _ = remove(tb, "overlay", name)
				delete(all, name)
			case 1:
				base = &configv1.Server{Name: "a", Spec: spec(at("http://127.0.0.1:1/mcp"))}
				base.Spec.Timeouts = &configv1.Timeouts{Total: pick("", "1s", "2s"), Idle: pick("", "1m")}
				tb, _ = apply(tb, object(t, "server", "a", base))
			default:
				o := &configv1.Overlay{Name: name, Spec: &configv1.OverlaySpec{Kind: "server", Target: "a", Region: pick("", "eu", "us"), Group: pick("", "edge", "core"),
					Patch: &configv1.OverlaySpec_Server{Server: &configv1.ServerSpec{Timeouts: &configv1.Timeouts{Total: pick("", "3s", "4s")}}}}}
				if r.IntN(3) == 0 {
					o.Spec.Clear = []string{"spec.timeouts"}
				}
				tb, _ = apply(tb, object(t, "overlay", name, o))
				all[name] = o
			}
			var of []*configv1.Overlay
			for _, o := range all {
				of = append(of, o)
			}
			e, err := overlay.Explain("server", "a", base, of, here)
			if err != nil {
				t.Fatal(err)
			}
			body, err := rules.Body(e.Object)
			if err != nil {
				t.Fatal(err)
			}
			if s, ok := tb.Server("a"); !ok || s.Hash != confset.HashBody(body) {
				t.Fatalf("seed %d: not served as %v", seed, e.Object)
			}
		}
	}
}

// One overlay of one of 2,000 servers changes.
func BenchmarkApplyOneOverlay(b *testing.B) {
	t, _ := table.New(table.Config{Region: "eu"}).Apply(fleet(b, 1000), 1, table.Version{})
	var deltas [2]confset.Delta
	for i := range deltas {
		deltas[i].Upserts = []confset.Object{overlaying(b, "o", &configv1.OverlaySpec{Kind: "server", Target: "server_0001", Region: "eu",
			Patch: &configv1.OverlaySpec_Server{Server: total(fmt.Sprintf("%ds", i+1))}})}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		t, _ = t.Apply(deltas[i%2], 2, table.Version{})
		i++
	}
}

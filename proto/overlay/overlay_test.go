package overlay_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/overlay"
	"github.com/hopgate/hopgate/proto/rules"
)

func over(name, region, group string, patch *configv1.ServerSpec, clear ...string) *configv1.Overlay {
	s := &configv1.OverlaySpec{Kind: "server", Target: "a", Region: region, Group: group, Clear: clear}
	if patch != nil {
		s.Patch = &configv1.OverlaySpec_Server{Server: patch}
	}
	return &configv1.Overlay{Name: name, Spec: s}
}

func total(s string) *configv1.ServerSpec {
	return &configv1.ServerSpec{Timeouts: &configv1.Timeouts{Total: s}}
}

func base() *configv1.Server {
	return &configv1.Server{Name: "a", Labels: map[string]string{"team": "x"}, Spec: &configv1.ServerSpec{
		Endpoints: []*configv1.Endpoint{{Url: "https://a.example.com/mcp"}, {Url: "https://b.example.com/mcp", Regions: []string{"us"}}},
		Timeouts:  &configv1.Timeouts{Connect: "1s", Total: "10s"}, Limits: &configv1.CallLimits{Rate: "10/s", Concurrency: 4}}}
}

// later is a field of a later version.
func later(number protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), text)
}

func TestFieldsAreSetOneByOneAndListsAsAWhole(t *testing.T) {
	was := base()
	got := overlay.Merge(was, []*configv1.Overlay{over("o", "eu", "", &configv1.ServerSpec{
		Endpoints: []*configv1.Endpoint{{Url: "https://eu.example.com/mcp"}}, Timeouts: &configv1.Timeouts{Total: "2s"}, ReachableFrom: "internal"}, "spec.limits.rate", "spec.auth.type")})
	want := base()
	want.Spec.Endpoints = []*configv1.Endpoint{{Url: "https://eu.example.com/mcp"}}
	want.Spec.Timeouts.Total, want.Spec.ReachableFrom, want.Spec.Limits.Rate = "2s", "internal", ""
	if !proto.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if !proto.Equal(was, base()) {
		t.Errorf("the object itself was changed: %v", was)
	}
}

func TestAMessageIsReplacedByClearingItFirst(t *testing.T) {
	got := overlay.Merge(base(), []*configv1.Overlay{over("o", "eu", "", total("2s"), "spec.timeouts")}).(*configv1.Server)
	if x := got.GetSpec().GetTimeouts(); x.GetConnect() != "" || x.GetTotal() != "2s" {
		t.Errorf("%v", x)
	}
}

func TestWhatALaterVersionWroteStaysAndComesAlong(t *testing.T) {
	was, patch := base(), total("2s")
	was.Spec.ProtoReflect().SetUnknown(append(later(4000, "kept"), later(4001, "replaced")...))
	patch.ProtoReflect().SetUnknown(later(4001, "stricter"))
	patch.Timeouts.ProtoReflect().SetUnknown(later(5000, "deep"))
	got := overlay.Merge(was, []*configv1.Overlay{over("o", "eu", "", patch)}).(*configv1.Server)
	if u := got.GetSpec().ProtoReflect().GetUnknown(); !bytes.Equal(u, append(later(4000, "kept"), later(4001, "stricter")...)) {
		t.Errorf("spec: %q", u)
	}
	if u := got.GetSpec().GetTimeouts().ProtoReflect().GetUnknown(); !bytes.Equal(u, later(5000, "deep")) {
		t.Errorf("timeouts: %q", u)
	}
}

func TestTheMoreSpecificWins(t *testing.T) {
	all := []*configv1.Overlay{over("a", "eu", "edge", total("3s")), over("b", "", "edge", total("2s")), over("c", "eu", "", total("1s")), over("d", "us", "", total("9s"))}
	for place, want := range map[overlay.Place]string{
		{}: "10s", {Region: "eu"}: "1s", {Region: "eu", Group: "core"}: "1s", {Region: "us"}: "9s", {Region: "us", Group: "edge"}: "2s", {Region: "eu", Group: "edge"}: "3s",
		{Group: "edge"}: "2s", {Region: "ap"}: "10s",
	} {
		got := overlay.Merge(base(), overlay.At(place, all)).(*configv1.Server).GetSpec().GetTimeouts().GetTotal()
		if got != want {
			t.Errorf("%+v: %s, want %s", place, got, want)
		}
	}
}

func TestExplainNamesWhoSetAFieldAndWhoLost(t *testing.T) {
	all := []*configv1.Overlay{over("group", "", "edge", total("2s")), over("region", "eu", "", &configv1.ServerSpec{
		Timeouts: &configv1.Timeouts{Total: "1s"}, Limits: &configv1.CallLimits{Rate: "1/s"}}), over("both", "eu", "edge", nil, "spec.limits"), over("away", "us", "", total("9s"))}
	e, err := overlay.Explain("server", "a", base(), all, overlay.Place{Region: "eu", Group: "edge"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range e.Layers {
		got = append(got, fmt.Sprintf("%s %v %s", l.Object, l.Applied, l.Why))
	}
	for _, o := range e.Origins {
		got = append(got, fmt.Sprintf("%s %s %s -> %s %v", o.Path, o.Overlay, o.Before, o.After, o.Overruled))
	}
	want := []string{
		"server/a true is the object itself", "overlay/region true is for region eu", "overlay/group true is for group edge",
		"overlay/both true is for group edge in region eu", "overlay/away false is for region us, and this is group edge in region eu",
		`spec.limits both {"rate":"10/s","concurrency":4} ->  [region]`, `spec.timeouts.total group "10s" -> "2s" [region]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOverlaysOfOnePlaceDisputeFields(t *testing.T) {
	a := over("a", "eu", "", total("1s"), "spec.limits")
	for name, c := range map[string]struct {
		other *configv1.Overlay
		want  string
	}{
		"the same field":        {over("b", "eu", "", total("2s")), "spec.server.timeouts.total"},
		"what is around it":     {over("b", "eu", "", nil, "spec.timeouts"), "spec.server.timeouts.total"},
		"what is in it":         {over("b", "eu", "", &configv1.ServerSpec{Limits: &configv1.CallLimits{Rate: "1/s"}}), "spec.clear[0]"},
		"another field":         {over("b", "eu", "", &configv1.ServerSpec{Protocol: "modern"}), ""},
		"one with a like name":  {over("b", "eu", "", nil, "spec.limits_of_others"), ""},
		"a more specific place": {over("b", "eu", "edge", total("2s")), ""},
		"another place":         {over("b", "us", "", total("2s")), ""},
	} {
		got := ""
		for _, c := range overlay.Clashes(a.GetSpec(), c.other.GetSpec()) {
			got += c.Field
		}
		if got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTheTargetIsReadOffTheBody(t *testing.T) {
	body, err := rules.Body(over("o", "eu", "", total("1s")))
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := overlay.Target(body); !ok || key != (confset.Key{Kind: "server", Name: "a"}) {
		t.Errorf("%v %v", key, ok)
	}
	if key, ok := overlay.Target([]byte{0x1a, 0x7f}); ok {
		t.Errorf("%v", key)
	}
}

func TestAnOverlayOfALaterVersionIsAProblem(t *testing.T) {
	narrowed := over("o", "eu", "", total("1s"))
	narrowed.Spec.ProtoReflect().SetUnknown(later(4000, "zone"))
	other := over("o", "eu", "", total("1s"))
	other.Spec.Kind = "settings"
	for o, want := range map[*configv1.Overlay]string{
		over("o", "eu", "", total("1s"), "spec.limits"): "",
		narrowed:                                 "has fields not known to this version",
		other:                                    "has a patch of another kind than its target",
		over("o", "eu", "", nil, "spec.unheard"): "clears a field not known to this version",
		{Name: "o", Spec: &configv1.OverlaySpec{Kind: "x"}}: "is for a kind that this version can't change",
	} {
		if got := overlay.Problem(o); got != want {
			t.Errorf("%v: %q", o, got)
		}
	}
}

// random is an overlay for some place, made of few fields so that overlays meet.
func random(r *rand.Rand, name string) *configv1.Overlay {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	s := &configv1.ServerSpec{Protocol: pick("", "modern"), ReachableFrom: pick("", "internal")}
	if r.IntN(2) == 0 {
		s.Timeouts = &configv1.Timeouts{Connect: pick("", "1s"), Total: pick("", "3s", "4s")}
	}
	if r.IntN(3) == 0 {
		s.Endpoints = []*configv1.Endpoint{{Url: "https://" + name + ".example.com/mcp"}}
	}
	if r.IntN(3) == 0 {
		s.ProtoReflect().SetUnknown(later(protowire.Number(4000+r.IntN(3)), name))
	}
	var clear []string
	for _, path := range []string{"spec.timeouts", "spec.limits.rate", "spec.endpoints"} {
		if r.IntN(4) == 0 {
			clear = append(clear, path)
		}
	}
	return over(name, pick("", "eu", "us"), pick("", "edge"), s, clear...)
}

func same(t *testing.T, a, b proto.Message) {
	t.Helper()
	x, err := rules.Body(a)
	if err != nil {
		t.Fatal(err)
	}
	if y, err := rules.Body(b); err != nil || !bytes.Equal(x, y) {
		t.Errorf("%v\n%v\n%v", a, b, err)
	}
}

func TestLawsOfMerging(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var all []*configv1.Overlay
		for i := range 1 + r.IntN(5) {
			all = append(all, random(r, fmt.Sprintf("o%d", i)))
		}
		p := overlay.Place{Region: []string{"eu", "us", ""}[r.IntN(3)], Group: []string{"edge", ""}[r.IntN(2)]}
		here := overlay.At(p, all)
		whole := overlay.Merge(base(), here)
		same(t, overlay.Merge(whole, here[max(0, len(here)-1):]), whole) // the last one changes nothing any more
		cut := r.IntN(len(here) + 1)
		same(t, overlay.Merge(overlay.Merge(base(), here[:cut]), here[cut:]), whole)
		slices.Reverse(all)
		same(t, overlay.Merge(base(), overlay.At(p, all)), whole) // however they are listed
		e, err := overlay.Explain("server", "a", base(), all, p)
		if err != nil {
			t.Fatal(err)
		}
		same(t, e.Object, whole)
		if len(here) > 0 {
			last := here[len(here)-1].GetSpec().GetServer()
			if got := whole.(*configv1.Server).GetSpec(); last.GetProtocol() != "" && got.GetProtocol() != last.GetProtocol() {
				t.Errorf("seed %d: protocol %q isn't that of the most specific one", seed, got.GetProtocol())
			}
		}
	}
}

func FuzzMergeKeepsWhatItDoesntKnow(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add(later(4000, "a"), later(4000, "b"))
	f.Add(append(later(4000, "a"), later(4001, "b")...), later(4001, "c"))
	f.Fuzz(func(t *testing.T, of, in []byte) {
		was, patch := &configv1.Server{Name: "a", Spec: &configv1.ServerSpec{}}, &configv1.ServerSpec{}
		if proto.Unmarshal(of, was.Spec) != nil || proto.Unmarshal(in, patch) != nil {
			return
		}
		here := []*configv1.Overlay{over("o", "eu", "", patch)}
		got := overlay.Merge(was, here)
		same(t, overlay.Merge(got, here), got)
		unknown := got.(*configv1.Server).GetSpec().ProtoReflect().GetUnknown()
		if !bytes.HasSuffix(unknown, patch.ProtoReflect().GetUnknown()) {
			t.Errorf("%x lost %x", unknown, patch.ProtoReflect().GetUnknown())
		}
		if len(patch.ProtoReflect().GetUnknown()) == 0 && !bytes.Equal(unknown, was.Spec.ProtoReflect().GetUnknown()) {
			t.Errorf("%x became %x", was.Spec.ProtoReflect().GetUnknown(), unknown)
		}
	})
}

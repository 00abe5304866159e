package share_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/controlplane/share"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a ledger with a clock of its own.
type desk struct {
	*share.Ledger
	now time.Time
}

func newDesk(change ...func(*share.Config)) *desk {
	d := &desk{now: time.Unix(1_000_000, 0)}
	cfg := share.Config{Now: func() time.Time { return d.now }}
	for _, c := range change {
		c(&cfg)
	}
	d.Ledger = share.New(cfg)
	return d
}

// round lets the time of a round pass.
func (d *desk) round() {
	d.now = d.now.Add(250 * time.Millisecond)
	d.Round()
}

// join opens a stream and says what is held: the default share (-1: none) and others.
func (d *desk) join(name string, standard int32, held ...*syncv1.LimitDemand) *share.Member {
	m := d.Join(name, func() {})
	m.Demand(&syncv1.Demand{Limits: append(held, &syncv1.LimitDemand{SharePpm: standard})})
	return m
}

// take returns what a data plane is told, as text.
func take(m *share.Member) string {
	out := ""
	for _, s := range m.Take() {
		for _, l := range s.GetLimits() {
			out += fmt.Sprintf("%s=%d ", l.GetLimit(), l.GetSharePpm())
		}
		if s.GetDefaultPpm() > 0 {
			out += fmt.Sprintf("default=%d", s.GetDefaultPpm())
		}
	}
	return out
}

func echo(m *share.Member, limit string, ppm int32, rate int64) {
	m.Demand(&syncv1.Demand{Limits: []*syncv1.LimitDemand{{Limit: limit, SharePpm: ppm, RateMilli: rate}}})
}

func want(t *testing.T, what string, m *share.Member, w string) {
	t.Helper()
	if got := take(m); got != w {
		t.Errorf("%s: told %q, want %q", what, got, w)
	}
}

func TestWhatOneGetsTheOtherHasGivenUpFirst(t *testing.T) {
	d := newDesk()
	a := d.join("a", -1)
	d.round()
	want(t, "alone", a, "default=1000000")
	echo(a, "", 1_000_000, 0)

	b := d.join("b", -1)
	d.round()
	want(t, "a gives up a half", a, "default=500000")
	want(t, "b waits", b, "")
	d.round()
	want(t, "a hasn't said so", b, "")
	echo(a, "", 500_000, 0)
	d.round()
	want(t, "a has", b, "default=500000")
	echo(b, "", 500_000, 0)

	echo(a, "team/x", 500_000, 90_000)
	d.round()
	want(t, "a waits", a, "team/x=500000 ")
	want(t, "b gives up", b, "team/x=10000 ")
	d.round()
	want(t, "a still waits", a, "")
	echo(b, "team/x", 10_000, 0)
	d.round()
	want(t, "a gets it", a, "team/x=990000 ")
}

func TestWhoIsGoneKeepsItsShareForAWhile(t *testing.T) {
	d := newDesk()
	a, b := d.join("a", -1), d.join("b", -1)
	d.round()
	take(a)
	want(t, "b", b, "default=500000")
	echo(a, "", 500_000, 0)
	echo(b, "", 500_000, 0)
	b.Leave()
	d.round()
	want(t, "at once", a, "")
	d.now = d.now.Add(119 * time.Second)
	d.round()
	want(t, "before two minutes", a, "")
	d.now = d.now.Add(time.Second)
	d.round()
	want(t, "after two minutes", a, "default=1000000")
	b.Leave()
	echo(b, "team/x", 1_000_000, 1) // what a stream that ended says doesn't count
	if n := d.Outstanding("team/x"); n != 1_000_000 {
		t.Errorf("%d", n)
	}
}

func TestANewProcessOfTheSameNameHasNothing(t *testing.T) {
	d := newDesk()
	a := d.join("a", -1)
	d.round()
	take(a)
	echo(a, "", 1_000_000, 0)
	echo(a, "team/x", 1_000_000, 1000)
	d.round()
	take(a)
	again := d.join("a", -1)
	a.Leave() // the older stream: nothing happens
	d.round()
	want(t, "the new one", again, "team/x=1000000 default=1000000")
	want(t, "the old stream", a, "")
}

func TestAfterARestartAllAreAwaited(t *testing.T) {
	d := newDesk(func(c *share.Config) { c.Settle = 3 * time.Second })
	held := func(ppm int32) *syncv1.LimitDemand {
		return &syncv1.LimitDemand{Limit: "team/x", SharePpm: ppm, RateMilli: 1000}
	}
	a := d.join("a", 500_000, held(300_000))
	d.now = d.now.Add(10 * time.Second)
	d.round()
	want(t, "one of two", a, "team/x=300000 default=500000")
	b := d.join("b", 500_000, held(700_000))
	d.round()
	want(t, "b has more than its part", b, "team/x=500000 default=500000")
	echo(b, "team/x", 500_000, 1000)
	d.round()
	want(t, "a gets the rest", a, "team/x=500000 ")
}

func TestSeveralControlPlanesHaveAPartEach(t *testing.T) {
	replicas := 2
	d := newDesk(func(c *share.Config) { c.Replicas = func() int { return replicas } })
	a := d.join("a", -1)
	d.round()
	want(t, "one of two", a, "default=500000")
	replicas = 4
	d.round()
	want(t, "one of four", a, "default=250000")
	echo(a, "", 250_000, 0)
	replicas = 1
	d.round()
	d.now = d.now.Add(119 * time.Second)
	d.round()
	want(t, "the others' data planes may go on", a, "")
	d.now = d.now.Add(2 * time.Second)
	d.round()
	want(t, "not any more", a, "default=1000000")
}

func TestMemoryIsBounded(t *testing.T) {
	d := newDesk(func(c *share.Config) { c.Most = 10 })
	a := d.join("a", -1)
	d.round()
	take(a)
	for i := range 30 {
		echo(a, fmt.Sprint("key/", i), 1_000_000, 10)
	}
	d.round()
	n := 0
	for _, s := range a.Take() {
		n += len(s.GetLimits())
	}
	if n != 10 {
		t.Errorf("%d limits are remembered, want 10", n)
	}
}

// heads is config.
type heads map[confset.Key]store.Head

func (h heads) Get(kind, name string) (store.Head, bool) {
	x, ok := h[confset.Key{Kind: kind, Name: name}]
	return x, ok
}

// settle lets rounds pass in which data planes bring in force what they are told.
func (d *desk) settle(rounds int, members ...*share.Member) (told string) {
	for range rounds {
		d.round()
		for _, m := range members {
			for _, s := range m.Take() {
				for _, l := range s.GetLimits() {
					told += fmt.Sprintf("%s=%d ", l.GetLimit(), l.GetSharePpm())
					echo(m, l.GetLimit(), max(0, l.GetSharePpm()), 0)
				}
				if s.GetDefaultPpm() > 0 {
					echo(m, "", s.GetDefaultPpm(), 0)
				}
			}
		}
	}
	return told
}

func TestStrangersDontKeepOutLimitsOfOperators(t *testing.T) {
	d := newDesk(func(c *share.Config) { c.Most = 8 })
	a, b := d.join("a", -1), d.join("b", -1)
	d.settle(4, a, b)
	for i := range 100 {
		echo(a, fmt.Sprintf("jwt/%016x", i), 500_000, 1000)
	}
	echo(a, "server/s", 500_000, 9000)
	d.round()
	if told := take(b); !strings.Contains(told, "server/s=") {
		t.Errorf("of the server's limit nothing is told: %q", told)
	}
	if n := strings.Count(take(a)+take(b), "jwt/"); n > 4 {
		t.Errorf("%d shares of callers are told", n)
	}
}

func TestMoreDataPlanesMakeRoomByLettingLimitsOfCallersGo(t *testing.T) {
	d := newDesk(func(c *share.Config) { c.Most = 8 })
	members := []*share.Member{d.join("a", -1)}
	d.settle(2, members...)
	for i := range 3 {
		echo(members[0], fmt.Sprintf("jwt/%d", i), 1_000_000, 1000)
	}
	echo(members[0], "server/s", 1_000_000, 9000)
	d.settle(2, members...)
	for _, name := range []string{"b", "c", "d"} {
		members = append(members, d.join(name, -1))
	}
	d.settle(4, members...)
	d.now = d.now.Add(5 * time.Second)
	told := d.settle(8, members...)
	if strings.Count(told, "=-1 ") != 2*4 {
		t.Errorf("told %q, want two limits of callers back at the default everywhere", told)
	}
	if strings.Contains(told, "server/s=-1") {
		t.Errorf("told %q: the server's limit went", told)
	}
}

func TestANameLongerThanAnyLimitsIsNotRemembered(t *testing.T) {
	d := newDesk()
	a, b := d.join("a", -1), d.join("b", -1)
	d.settle(4, a, b)
	echo(a, "server/"+strings.Repeat("s", 500), 500_000, 9000)
	if told := d.settle(2, a, b); told != "" {
		t.Errorf("told %q", told)
	}
}

func (h heads) List(kind, after string, _ int) (out []store.Head) {
	for k, x := range h {
		if k.Kind == kind && k.Name > after {
			out = append(out, x)
		}
	}
	return out
}

func (h heads) Revision() int64 { return int64(len(h)) }

func (h heads) put(t *testing.T, kind, name string, m proto.Message) {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	k := confset.Key{Kind: kind, Name: name}
	h[k] = store.Head{Object: confset.NewObject(k, "uid-"+name, body)}
}

func TestWhatLimitsAllowStandsInTheConfig(t *testing.T) {
	h := heads{}
	lim := func(rate string, n int32) *configv1.CallLimits {
		return &configv1.CallLimits{Rate: rate, Concurrency: n}
	}
	h.put(t, "apikey", "ci", &configv1.ApiKey{Spec: &configv1.ApiKeySpec{Limits: lim("6000/m", 0)}})
	h.put(t, "team", "core", &configv1.Team{Spec: &configv1.TeamSpec{Limits: lim("10/s", 3)}})
	h.put(t, "server", "s", &configv1.Server{Spec: &configv1.ServerSpec{Limits: lim("", 7),
		ToolLimits: []*configv1.ToolLimits{{Tool: "a/b", Limits: lim("2/s", 0)}}}})
	h.put(t, "identityprovider", "okta", &configv1.IdentityProvider{Spec: &configv1.IdentityProviderSpec{Limits: lim("5/s", 0)}})
	allows := share.Allows(h)
	check := func(limit string, rate float64, n int) {
		t.Helper()
		if r, c := allows(limit); r != rate || c != n {
			t.Errorf("%s: %g and %d, want %g and %d", limit, r, c, rate, n)
		}
	}
	check("key/uid-ci", 100, 0)
	check("key/uid-other", 0, 0)
	check("team/core", 10, 3)
	check("server/s", 0, 7)
	check("tool/s/a/b", 2, 0)
	check("tool/s/c", 0, 0)
	check("jwt/0011223344556677", 5, 0)
	check("nonsense", 0, 0)
	h.put(t, "identityprovider", "other", &configv1.IdentityProvider{Spec: &configv1.IdentityProviderSpec{}})
	check("jwt/0011223344556677", 0, 0)
}

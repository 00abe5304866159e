package table_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestHowAServerIsTreated(t *testing.T) {
	treated := func(change func(*configv1.ServerSpec)) *table.Server {
		s := spec(at("http://h/"))
		change(s)
		tab, outs := apply(empty(), server(t, "a", s))
		a, ok := tab.Server("a")
		if !ok {
			t.Fatal(outs)
		}
		return a
	}
	a := treated(func(*configv1.ServerSpec) {})
	builtIn := table.Resilience{QueueTimeout: 5 * time.Second, BreakerFailures: 5, BreakerOpen: time.Second, HealthTimeout: 5 * time.Second, Retries: 1}
	if a.Resilience != builtIn || a.NeedsSession || a.ListTTL != 30*time.Second || a.Transport != "streamable_http" || a.Protocol != "auto" || a.Shape != nil {
		t.Errorf("%+v", a)
	}
	a = treated(func(s *configv1.ServerSpec) {
		s.Transport, s.Sessions, s.ListTtl = "sse", "required", "0s"
		s.Resilience = &configv1.Resilience{MaxInFlight: 4, Queue: 7, QueueTimeout: "1s", BreakerFailures: -1, BreakerOpen: "2s", HealthInterval: "10s", HealthTimeout: "3s", Retries: -2}
	})
	want := table.Resilience{MaxInFlight: 4, Queue: 7, QueueTimeout: time.Second, BreakerOpen: 2 * time.Second, HealthInterval: 10 * time.Second, HealthTimeout: 3 * time.Second}
	if a.Resilience != want || !a.NeedsSession || a.ListTTL != 0 || a.Transport != "sse" || a.Protocol != "legacy" {
		t.Errorf("%+v", a)
	}
	tab, outs := apply(empty(), settings(t, &configv1.SettingsSpec{Limits: &configv1.Limits{Page: 7}}))
	if tab.Settings().Page != 7 || len(outs) > 0 {
		t.Errorf("page %d, %q", tab.Settings().Page, outs)
	}
}

func TestHowAServerCannotBeTreated(t *testing.T) {
	for want, s := range map[string]*configv1.ServerSpec{
		"spec.protocol: ":                 {Transport: "sse", Protocol: "modern"},
		"spec.sessions: ":                 {Sessions: "x"},
		"spec.list_ttl: ":                 {ListTtl: "soon"},
		"spec.resilience.max_in_flight: ": {Resilience: &configv1.Resilience{MaxInFlight: -1}},
		"spec.resilience.queue: ":         {Resilience: &configv1.Resilience{Queue: -1}},
		"spec.resilience.breaker_open: ":  {Resilience: &configv1.Resilience{BreakerOpen: "-1s"}},
		"spec.timeouts.list: ":            {Timeouts: &configv1.Timeouts{List: "x"}},
	} {
		s.Endpoints = []*configv1.Endpoint{at("http://h/")}
		if _, outs := apply(empty(), server(t, "a", s)); len(outs) != 1 || !strings.HasPrefix(outs[0], "server/a rejected "+want) {
			t.Errorf("%s\n%q", want, outs)
		}
	}
}

func TestTheInstancesOfARegion(t *testing.T) {
	one, two, us, any1, any2 := at("http://eu1/", "eu"), at("http://eu2/", "us", "eu"), at("http://us/", "us"), at("http://any1/"), at("http://any2/")
	for name, c := range map[string]struct {
		endpoints []*configv1.Endpoint
		hosts     []string
	}{
		"those that name it":        {[]*configv1.Endpoint{any1, one, us, two, any2}, []string{"eu1", "eu2"}},
		"none names it":             {[]*configv1.Endpoint{us, any2, any1}, []string{"any2", "any1"}},
		"nothing for it":            {[]*configv1.Endpoint{us}, nil},
		"one of them written twice": {[]*configv1.Endpoint{one, two, one}, []string{"eu1", "eu2"}},
	} {
		tab, outs := apply(empty(), server(t, "a", spec(c.endpoints...)))
		a, _ := tab.Server("a")
		if a == nil || len(outs) > 0 {
			t.Fatalf("%s: %q", name, outs)
		}
		var hosts []string
		for _, i := range a.Instances {
			hosts = append(hosts, i.Host)
		}
		if !slices.Equal(hosts, c.hosts) || (a.Target == nil) != (c.hosts == nil) || a.Target != nil && a.Target != a.Instances[0] {
			t.Errorf("%s: %v, %+v", name, hosts, a.Target)
		}
	}
}

// Sealed sessions name instances by these numbers: another rule would lose them.
func TestInstancesKeepTheirNumbers(t *testing.T) {
	tab, _ := apply(empty(), server(t, "a", spec(at("http://h/mcp"))))
	a, _ := tab.Server("a")
	if a.Target.ID != 0x51805435 {
		t.Errorf("%#x", a.Target.ID)
	}
}

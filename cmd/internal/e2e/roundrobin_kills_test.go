//go:build e2e

package e2e

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// stormShort and stormLong are how long clients call while data planes are killed, without and with SOAK, and stormCalls and soakCalls how
	// many calls they make in that time.
	stormShort, stormLong = 10 * time.Second, 80 * time.Second
	stormCalls, soakCalls = 300, 2000
	// callLimit is how long a client waits for an answer; killedFor is how long a data plane stays away.
	callLimit, killedFor = 8 * time.Second, time.Second
)

// rrKill is a data plane's end. A busy machine takes its time between the signal and the end, in which connections are still accepted.
type rrKill struct {
	at, gone time.Time
	replica  string // address
}

func TestRoundRobinSurvivesKills(t *testing.T) {
	t.Parallel() // much of it is waiting
	g := startRoundRobin(t)
	lasts, many := soakFor(t, stormShort, stormLong), stormCalls
	if lasts > stormShort {
		many = soakCalls
	}
	g.provenGood(t)
	s := &storm{g: g, lasts: lasts}
	each := many / 3
	s.begin(t, "ts1", []string{node(t), script(t, "rr_storm.mjs")}, 1, g.sessions("ts1", each, npmServer, stateful))
	s.begin(t, "ts2", []string{node(t), script(t, "rr_storm.mjs")}, 2, g.sessions("ts2", each, npmServer, stateless))
	s.begin(t, "go", []string{tool(t, "E2E_GOSDK", "rrstorm")}, 0, g.sessions("go", each, npmServer, stateful, stateless))
	s.mcporter(t, "/mcp", npmServer+"-echo")
	s.mcporter(t, "/"+npmServer+"/mcp", "echo")
	s.raging(t)
	kills := g.kills(t, lasts)
	calls := s.end(t)
	g.judge(t, calls, kills, many)
}

// provenGood waits until the data planes count their config as good: one that is killed before suspects it, and holds it off.
func (g *roundRobin) provenGood(t *testing.T) {
	t.Helper()
	applied := time.Now()
	eventually(t, time.Minute, "the config is marked good", func() error {
		for _, p := range g.replicas {
			if err := p.wroteLater(applied); err != nil {
				return err
			}
		}
		return nil
	})
}

// kills ends one data plane after the other, and starts each again a second later.
func (g *roundRobin) kills(t *testing.T, lasts time.Duration) []rrKill {
	t.Helper()
	var out []rrKill
	every := min(5*time.Second, lasts/4)
	next := time.Now().Add(every)
	for i, end := 0, time.Now().Add(lasts); next.Before(end); i++ {
		<-time.After(time.Until(next))
		p := g.replicas[i%len(g.replicas)]
		k := rrKill{at: time.Now(), replica: p.Listen}
		p.kill()
		k.gone = time.Now()
		out = append(out, k)
		<-time.After(killedFor)
		p.again(t)
		next = next.Add(every)
	}
	return out
}

// judge checks that every call that failed was in flight on a data plane when that was killed, that no call reached a server twice, and that
// every session is alive at the end.
func (g *roundRobin) judge(t *testing.T, calls []rrCall, kills []rrKill, many int) {
	t.Helper()
	turns := g.turns(t)
	longest := time.Duration(0)
	for _, k := range kills {
		longest = max(longest, k.gone.Sub(k.at))
	}
	failed, by, ended := 0, map[string]int{}, map[string]int{}
	for _, c := range calls {
		kind, _, _ := strings.Cut(c.Client, "-")
		by[kind]++
		if strings.HasPrefix(c.Token, "end-") {
			ended[c.Client]++
		}
		if c.Error == "" {
			continue
		}
		failed++
		by[kind+" failed"]++
		if !slices.ContainsFunc(turns, func(x rrTurn) bool { return x.lost(c, kills) }) {
			t.Errorf("%s (%s) failed without having been on a data plane that was killed: %.400s", c.Token, c.Op, c.Error)
			for _, x := range turns {
				if x.Client == c.Client && x.ended().UnixMilli() >= c.From && x.began().UnixMilli() <= c.To {
					t.Logf("    %s %s %d (%s) at %s from %s to %s: %.150s", x.Method, x.URI, x.Status, x.Upstream, x.To,
						x.began().Format("05.000"), x.ended().Format("05.000"), x.Body)
				}
			}
		}
	}
	t.Logf("%d calls, %d failed; by client %v; %d kills, the longest took %s", len(calls), failed, by, len(kills), longest)
	if len(calls) < many*9/10 {
		t.Errorf("only %d of %d calls were made", len(calls), many)
	}
	for _, kind := range []string{"ts1", "ts2", "go", "mcporter"} {
		if by[kind] == 0 {
			t.Errorf("no calls of %s", kind)
		}
	}
	if len(ended) != 10 {
		t.Errorf("%d of 10 sessions came to their end: %v", len(ended), slices.Sorted(maps.Keys(ended)))
	}
	g.once(t)
	if lost := g.inFlight(t, turns, kills); failed > lost {
		t.Errorf("%d calls failed, and only %d requests were lost", failed, lost)
	}
}

// lost reports whether the request belongs to the call and was on a data plane when that was killed.
func (x rrTurn) lost(c rrCall, kills []rrKill) bool {
	if x.Client != c.Client || x.Method == http.MethodGet && x.Resumes == "" || x.ended().UnixMilli() < c.From || x.began().UnixMilli() > c.To {
		return false
	}
	return x.onKilled(kills)
}

func (x rrTurn) onKilled(kills []rrKill) bool {
	const slack = 50 * time.Millisecond
	return slices.ContainsFunc(kills, func(k rrKill) bool {
		return x.at() == k.replica && x.began().Add(-slack).Before(k.gone) && x.ended().Add(slack).After(k.at)
	})
}

// once checks that no call reached its server twice. A client that is asked for more calls again, under another id.
func (g *roundRobin) once(t *testing.T) {
	t.Helper()
	for name, w := range g.witnesses {
		seen := map[string]int{}
		for _, s := range w.sights() {
			if s.Token != "" && s.Method == "tools/call" {
				seen[s.Token+" "+string(s.ID)]++
			}
		}
		for token, n := range seen {
			if n > 1 {
				t.Errorf("call %s reached %s %d times", token, name, n)
			}
		}
		t.Logf("%s got %d calls of tools, each once", name, len(seen))
	}
}

// inFlight tells how requests came to the data planes, and how many were lost.
func (g *roundRobin) inFlight(t *testing.T, turns []rrTurn, kills []rrKill) (lost int) {
	t.Helper()
	spread, streams, passed := map[string]int{}, 0, 0
	for _, x := range turns {
		spread[x.at()]++
		if strings.Contains(x.To, ", ") {
			passed++
		}
		switch {
		case !x.onKilled(kills):
		case x.Method == http.MethodGet:
			streams++
		default:
			lost++
		}
	}
	t.Logf("requests by data plane %v; in flight on killed ones: %d requests, %d streams; passed on after a refused connection: %d", spread, lost, streams, passed)
	for _, p := range g.replicas {
		if spread[p.Listen] < len(turns)/5 {
			t.Errorf("%s took %d of %d requests", p.Name, spread[p.Listen], len(turns))
		}
	}
	return lost
}

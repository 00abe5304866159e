package balance

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/proto/fault"
)

func TestABreakerOpensAfterFailuresInARow(t *testing.T) {
	c := newClock()
	v := newBalance(c).Of(server("a"))
	must(t, v, 0).over(Failed)
	must(t, v, 0).over(Failed)
	must(t, v, 0).over(Alive)
	must(t, v, 0).over(Failed)
	must(t, v, 0).over(Nothing)
	must(t, v, 0).over(Failed)
	must(t, v, 0).over(Failed)
	f := refused(t, v, 0)
	if f.Hop != fault.Upstream || f.Phase != fault.Connect || f.Kind != fault.CircuitOpen || f.Remote || f.HTTPStatus() != 503 {
		t.Errorf("%s", f.Header())
	}
	if f.RetryAfter != time.Second || !strings.Contains(f.Message, "server up") || !strings.Contains(f.Message, "since 2026-11-23T12:00:00Z") {
		t.Errorf("%v, %q", f.RetryAfter, f.Message)
	}
}

// Red when Judge takes Silent for Failed whatever others got.
func TestCallsWithoutAnAnswerSayNothingWhileOthersGetTheirs(t *testing.T) {
	c := newClock()
	v := newBalance(c).Of(server("a"))
	silent := func(took time.Duration) { must(t, v, 0).judged(Silent, c.t.Add(-took), time.Time{}) }
	c.t = c.t.Add(time.Minute)
	must(t, v, 0).judged(Alive, c.t, c.t)
	c.t = c.t.Add(30 * time.Second)
	for range 10 {
		silent(time.Minute) // slow calls, all over at once; another was answered meanwhile
	}
	must(t, v, 0).judged(Alive, c.t, c.t)
	c.t = c.t.Add(900 * time.Millisecond)
	for range 10 {
		silent(time.Millisecond) // the server hangs up on these
	}
	c.t = c.t.Add(200 * time.Millisecond)
	for range 3 {
		silent(time.Millisecond)
	}
	refused(t, v, 0)
	c.t = c.t.Add(time.Second)
	must(t, v, 0).judged(Silent, c.t, time.Time{}) // who finds out gets no answer either
	refused(t, v, 0)
	c.t = c.t.Add(2 * time.Second)
	must(t, v, 0).judged(Alive, c.t, time.Time{})
	silent(time.Minute)
	must(t, v, 0).over(Alive)
}

func TestAServerThatNeverAnsweredIsOpenAfterSilentCallsToo(t *testing.T) {
	c := newClock()
	v := newBalance(c).Of(server("a"))
	for range 3 {
		must(t, v, 0).judged(Silent, c.t, time.Time{})
	}
	refused(t, v, 0)
}

func TestABreakerThatIsOffNeverOpens(t *testing.T) {
	s := server("a")
	s.Resilience.BreakerFailures = 0
	v := newBalance(newClock()).Of(s)
	for range 100 {
		must(t, v, 0).over(Failed)
	}
	must(t, v, 0).over(Alive)
}

func TestOneCallFindsOutAndTheTimeDoubles(t *testing.T) {
	c := newClock()
	v := newBalance(c).Of(server("a"))
	broken(t, v, 0)
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		want *= time.Second
		c.t = c.t.Add(want - 1)
		refused(t, v, 0)
		c.t = c.t.Add(1)
		l := must(t, v, 0)
		refused(t, v, 0) // one at a time
		l.over(Failed)
	}
	c.t = c.t.Add(30 * time.Second)
	must(t, v, 0).over(Nothing) // its caller left: the next one may
	must(t, v, 0).over(Alive)
	must(t, v, 0).over(Failed)
	must(t, v, 0).over(Failed)
	must(t, v, 0).over(Alive)
	broken(t, v, 0)
	if f := refused(t, v, 0); f.RetryAfter != time.Second {
		t.Errorf("after a recovery it stays open for %v", f.RetryAfter)
	}
}

func TestALateSuccessClosesNothing(t *testing.T) {
	v := newBalance(newClock()).Of(server("a"))
	early := must(t, v, 0)
	broken(t, v, 0)
	early.over(Alive)
	refused(t, v, 0)
}

func TestCallsWaitForTheProbe(t *testing.T) {
	c := newClock()
	b := newBalance(c)
	v := b.Of(server("a"))
	b.Probed(true)
	broken(t, v, 0)
	if got := v.Probes(c.t, false); len(got) != 0 {
		t.Fatal("probed at once")
	}
	c.t = c.t.Add(time.Second)
	refused(t, v, 0)
	probes := v.Probes(c.t, false)
	if len(probes) != 1 || len(v.Probes(c.t, false)) != 0 {
		t.Fatal("not exactly one probe")
	}
	refused(t, v, 0)
	probes[0].Conclude(Nothing) // it can't tell: a call may
	l := must(t, v, 0)
	l.over(Failed)
	c.t = c.t.Add(2 * time.Second)
	v.Probes(c.t, false)[0].Conclude(Alive)
	must(t, v, 0).over(Alive)
	broken(t, v, 0)
	c.t = c.t.Add(time.Second + v.grace()) // nobody probes although somebody should
	must(t, v, 0).over(Alive)
}

func TestWindowsAreJitteredWithinTheirBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := time.Duration(rapid.Int64Range(-1, int64(time.Minute)).Draw(t, "first"))
		rounds, random := rapid.IntRange(0, 10_000).Draw(t, "rounds"), rapid.Float64Range(0, 0.999).Draw(t, "random")
		w, whole := window(first, rounds, random), window(first, rounds, 0)
		if w <= 0 || w > whole || w < whole/4*3 || whole > max(maxOpen, first) {
			t.Fatalf("%v of %v", w, whole)
		}
	})
}

// model is a breaker as one would explain it.
type model struct {
	failures, rounds int
	until            time.Time // zero: closed
	trials           []*Lease
}

// Whatever happens to calls in whatever order, the breaker does what the model does.
func TestTheBreakerKeepsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClock()
		s := server("a")
		v := newBalance(c).Of(s)
		var m model
		var calls []*Lease
		begin := func(t *rapid.T) {
			l, err := v.Pick(0, nil)
			trialOut := len(m.trials) > 0
			want := m.until.IsZero() || !c.t.Before(m.until) && !trialOut
			if (err == nil) != want {
				t.Fatalf("called: %v, model %v", err, want)
			}
			if err != nil {
				return
			}
			if l.trial != !m.until.IsZero() {
				t.Fatalf("trial %v", l.trial)
			}
			if calls = append(calls, &l); l.trial {
				m.trials = append(m.trials, &l)
			}
		}
		end := func(t *rapid.T) {
			if len(calls) == 0 {
				return
			}
			n := rapid.IntRange(0, len(calls)-1).Draw(t, "call")
			l := calls[n]
			calls = append(calls[:n], calls[n+1:]...)
			verdict := Verdict(rapid.IntRange(0, 2).Draw(t, "verdict"))
			l.Settle(verdict)
			l.Release()
			if l.trial {
				m.trials = nil
			}
			switch {
			case verdict == Alive && (l.trial || m.until.IsZero()):
				m.failures, m.rounds, m.until = 0, 0, time.Time{}
			case verdict == Failed && l.trial:
				m.rounds++
				m.until = c.t.Add(min(time.Second<<min(m.rounds, 5), maxOpen))
			case verdict == Failed && m.until.IsZero():
				if m.failures++; m.failures == s.Resilience.BreakerFailures {
					m.until = c.t.Add(time.Second)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": begin,
			"end":   end,
			"wait": func(t *rapid.T) {
				if len(m.trials) == 0 { // an attempt that takes too long has its own test
					c.t = c.t.Add(time.Duration(rapid.IntRange(1, 40_000).Draw(t, "ms")) * time.Millisecond)
				}
			},
			"": func(t *rapid.T) {
				if open := len(v.Open()) == 1; open == m.until.IsZero() {
					t.Fatalf("open: %v", open)
				}
				if n := v.members[0].inFlight.Load(); n != int64(len(calls)) {
					t.Fatalf("%d in flight, want %d", n, len(calls))
				}
			},
		})
	})
}

func TestAnAttemptKeepsOthersOutForHalfAMinuteAtMost(t *testing.T) {
	c := newClock()
	v := newBalance(c).Of(server("a"))
	broken(t, v, 0)
	c.t = c.t.Add(time.Second)
	first := must(t, v, 0)
	c.t = c.t.Add(maxOpen - 1)
	refused(t, v, 0)
	c.t = c.t.Add(1)
	must(t, v, 0).over(Alive)
	first.over(Failed) // it closed meanwhile
	must(t, v, 0).over(Alive)
}

package balance

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

func noCertificate() *fault.Error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.TLS, Kind: fault.Unauthenticated, Data: `"secret":1`, Err: errors.New("10.0.0.1: x509"),
		Message: "the upstream's certificate is from an unknown authority", Hint: "give the gateway the authority's certificate"}
}

// failing opens the breaker of an instance because of err.
func failing(t testing.TB, v *Server, id uint32, err error) {
	t.Helper()
	for range v.Config.Resilience.BreakerFailures {
		l := must(t, v, id)
		l.Blame(err)
		l.over(Failed)
	}
}

// Red when circuitOpen doesn't say why, when down forgets it, and when the cause of the cause stays.
func TestAnOpenBreakerSaysWhyItOpened(t *testing.T) {
	s := server("a")
	s.Resilience.MaxInFlight = 1
	v := newBalance(newClock()).Of(s)
	failing(t, v, 0, noCertificate())
	_, picked := v.Pick(0, nil)
	for what, f := range map[string]*fault.Error{"Pick": faultOf(t, picked), "Enter": faultOf(t, v.Enter(t.Context(), 0, ""))} {
		why := fault.As(f.Err)
		if f.Kind != fault.CircuitOpen || why == nil || why.Phase != fault.TLS || why.Kind != fault.Unauthenticated || why.Err != nil || why.Data != "" {
			t.Fatalf("%s: %s because of %+v", what, f.Header(), why)
		}
		if !strings.Contains(f.Message, "tls/unauthenticated: the upstream's certificate is from an unknown authority") ||
			!strings.HasPrefix(f.Hint, "give the gateway the authority's certificate; ") || strings.Contains(f.Error(), "10.0.0.1") {
			t.Errorf("%s: %q, %q", what, f.Message, f.Hint)
		}
	}
	if open := v.Open(); len(open) != 1 || open[0].Why == nil || open[0].Why.Phase != fault.TLS {
		t.Errorf("%+v", open)
	}
}

func TestTheLastFailureThatCountedIsWhy(t *testing.T) {
	c := newClock()
	v := newBalance(c).Of(server("a"))
	failing(t, v, 0, noCertificate())
	c.t = c.t.Add(time.Second)
	l := must(t, v, 0)
	l.Blame(&fault.Error{Hop: fault.Upstream, Phase: fault.DNS, Kind: fault.NotFound, Message: strings.Repeat("é", 300)})
	l.over(Failed)
	why := fault.As(refused(t, v, 0).Err)
	if why.Phase != fault.DNS || len(why.Message) > 160 {
		t.Errorf("%s, %d bytes", why.Header(), len(why.Message))
	}
	c.t = c.t.Add(2 * time.Second)
	l = must(t, v, 0)
	l.Blame(errors.New("it says nothing about the server"))
	l.over(Nothing)
	c.t = c.t.Add(time.Minute)
	l = must(t, v, 0)
	if why := v.Open()[0].Why; why.Phase != fault.DNS {
		t.Errorf("what counted for nothing is told: %s", why.Header())
	}
	l.Blame(errors.New("deadline"))
	l.over(Failed)
	if why := v.Open()[0].Why; why.Phase != fault.Headers || why.Kind != fault.TimedOut {
		t.Error(why.Header())
	}
}

func TestACallThatIsWellAllocatesNothing(t *testing.T) {
	v := newBalance(newClock()).Of(server("a"))
	if n := testing.AllocsPerRun(100, func() {
		l, err := v.Pick(0, nil)
		if err != nil {
			t.Fatal(err)
		}
		l.over(Alive)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

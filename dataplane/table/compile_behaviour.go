package table

import (
	"time"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// behave compiles how a server is treated beside its address and rights.
func (s *Server) behave(spec *configv1.ServerSpec, n *notes) {
	s.Transport = oneOf(n, "spec.transport", spec.GetTransport(), "streamable_http", "sse")
	s.Protocol = oneOf(n, "spec.protocol", spec.GetProtocol(), "auto", "modern", "legacy")
	if s.Transport == "sse" {
		if s.Protocol == "modern" {
			n.reject("spec.protocol", "is modern, and transport sse is that of revision 2024-11-05; write legacy or leave it out")
		}
		s.Protocol = "legacy" // there is nothing to learn
	}
	s.NeedsSession = oneOf(n, "spec.sessions", spec.GetSessions(), "ephemeral", "required") == "required"
	s.ListTTL = orElse(duration(n, "spec.list_ttl", spec.GetListTtl()), rules.ListTTL)
	s.Resilience = compileResilience("spec.resilience", spec.GetResilience(), n)
}

func compileResilience(field string, m *configv1.Resilience, n *notes) Resilience {
	r := Resilience{
		MaxInFlight:     atLeastZero(n, field+".max_in_flight", m.GetMaxInFlight()),
		Queue:           atLeastZero(n, field+".queue", m.GetQueue()),
		QueueTimeout:    orElse(duration(n, field+".queue_timeout", m.GetQueueTimeout()), rules.QueueTimeout),
		BreakerFailures: unlessNever(m.GetBreakerFailures(), rules.BreakerFailures),
		BreakerOpen:     orElse(duration(n, field+".breaker_open", m.GetBreakerOpen()), rules.BreakerOpen),
		HealthInterval:  orElse(duration(n, field+".health_interval", m.GetHealthInterval()), 0),
		HealthTimeout:   orElse(duration(n, field+".health_timeout", m.GetHealthTimeout()), rules.HealthTimeout),
		Retries:         unlessNever(m.GetRetries(), rules.Retries),
	}
	return r
}

func orElse(own *time.Duration, otherwise time.Duration) time.Duration {
	if own == nil {
		return otherwise
	}
	return *own
}

// unlessNever reads a number of which 0 means the built-in value, and a negative one never.
func unlessNever(v int32, builtIn int) int {
	switch {
	case v == 0:
		return builtIn
	case v < 0:
		return 0
	}
	return int(v)
}

func atLeastZero(n *notes, field string, v int32) int {
	if v < 0 {
		n.reject(field, "%d is below 0; give a number above 0, or 0 for none", v)
	}
	return int(v)
}

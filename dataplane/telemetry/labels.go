package telemetry

import (
	"strings"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// other is the label of everything beyond a bound.
const other = "other"

// methods are the MCP methods of all revisions; any other is labelled "other".
var methods = func() map[string]struct{} {
	m := map[string]struct{}{}
	for _, name := range []string{
		"initialize", "ping", "server/discover", "logging/setLevel", "completion/complete", "subscriptions/listen",
		"tools/list", "tools/call", "prompts/list", "prompts/get",
		"resources/list", "resources/read", "resources/templates/list", "resources/subscribe", "resources/unsubscribe",
		"roots/list", "sampling/createMessage", "elicitation/create",
		"tasks/list", "tasks/get", "tasks/result", "tasks/cancel", "tasks/update",
		"notifications/initialized", "notifications/cancelled", "notifications/progress", "notifications/message",
		"notifications/roots/list_changed", "notifications/tools/list_changed", "notifications/prompts/list_changed",
		"notifications/resources/list_changed", "notifications/resources/updated", "notifications/tasks/status",
		"notifications/elicitation/complete", "notifications/subscriptions/acknowledged", "notifications/tasks",
	} {
		m[name] = struct{}{}
	}
	return m
}()

// methodLabel folds names that are no MCP methods; "" stays: the request named none.
func methodLabel(name string) string {
	if name == "" {
		return ""
	}
	if _, ok := methods[name]; ok {
		return name
	}
	return other
}

// outcomeLabel is a word out of a closed list: ok, tool_error, a fault's kind, a JSON-RPC code that has a meaning, rpc_error,
// client_error, server_error.
func outcomeLabel(r *Record) string {
	if r.Fault != nil {
		return r.Fault.Kind.String()
	}
	switch r.Outcome {
	case "ok", "tool_error", "-32700", "-32600", "-32601", "-32602", "-32603", "-32000", "-32001", "-32002", "-32020", "-32021", "-32022", "-32042":
		return r.Outcome
	case "":
		if r.leg {
			return statusOutcome(r.UpstreamStatus)
		}
		return statusOutcome(r.Status)
	}
	return "rpc_error"
}

func statusOutcome(status int) string {
	switch {
	case status >= 500:
		return "server_error"
	case status >= 400:
		return "client_error"
	}
	return "ok"
}

func (s *series) addServer(name string) *serverSeries {
	if !utf8.ValidString(name) || (s.nServers.Load() >= maxServers && name != other) {
		name = other
		if sv, ok := s.servers.get(name); ok {
			return sv
		}
	}
	name = strings.Clone(name)
	return s.servers.add(name, func() *serverSeries {
		s.nServers.Add(1)
		return &serverSeries{name: name}
	})
}

// addCall finds the series of a call that has none under its own names yet.
func (s *series) addCall(sv *serverSeries, k callKey) *callSeries {
	f := callKey{methodLabel(k.method), s.toolLabel(sv.name, k), k.outcome, k.upstream, k.leg}
	if s.keys.Load() >= maxKeys {
		f.tool = ""
		if k.tool != "" {
			f.tool = other
		}
	}
	if c, ok := sv.calls.get(f); ok {
		return c
	}
	f.tool, f.method, f.outcome = strings.Clone(f.tool), strings.Clone(f.method), strings.Clone(f.outcome)
	return sv.calls.add(f, func() *callSeries {
		s.keys.Add(1)
		c := &callSeries{}
		if !f.leg {
			c.server = s.server.WithLabelValues(f.method, sv.name, f.tool, f.outcome)
		}
		if f.upstream {
			c.client = s.client.WithLabelValues(f.method, sv.name, f.tool, f.outcome)
		}
		return c
	})
}

// toolLabel admits a tool's name while there is room. Names are the caller's choice until a call of them succeeded, so those may only
// fill a part of the room.
func (s *series) toolLabel(server string, k callKey) string {
	if k.tool == "" {
		return ""
	}
	if server == other || k.method != "tools/call" || len(k.tool) > maxLabel || !utf8.ValidString(k.tool) {
		return other
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := pair{server, k.tool}
	if _, ok := s.pairs[p]; ok {
		return k.tool
	}
	guess := k.outcome != "ok"
	if len(s.pairs) >= maxTools || (guess && s.guessed >= maxGuessed) {
		return other
	}
	if guess {
		s.guessed++
	}
	s.pairs[pair{server, strings.Clone(k.tool)}] = struct{}{}
	return k.tool
}

func (s *series) addFault(k faultKey) prometheus.Counter {
	if !utf8.ValidString(k.server) || s.nFaults.Load() >= maxServers {
		k.server = other
	}
	k.server = strings.Clone(k.server)
	return s.faulted.add(k, func() prometheus.Counter {
		s.nFaults.Add(1)
		return s.faults.WithLabelValues(k.hop.String(), k.phase.String(), k.kind.String(), k.server)
	})
}

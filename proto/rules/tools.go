package rules

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const (
	mostOverrides   = 1000
	mostDescription = 4 << 10
)

var shownName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// ShownName says what is wrong with a name under which a tool is to be shown, as one sentence without its subject; empty: nothing. What passes
// is taken by every model API that is known (64 bytes), and by MCP (SEP-986).
func ShownName(name string) string {
	if shownName.MatchString(name) {
		return ""
	}
	return quote(name) + " is not a name that a tool can be shown under"
}

const shownNameFix = "write 1 to 64 letters, digits, underscores, dots and hyphens"

// IsPin reports whether s can be the SHA-256 of a tool's definition: 64 hexadecimal digits in lower case.
func IsPin(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 64 && strings.ToLower(s) == s
}

// serverTools checks what of a server's tools is shown, and how.
func (vs *Violations) serverTools(field string, t *configv1.ServerTools) {
	vs.toolsPatch(field, t)
	if len(t.GetOverrides()) <= mostOverrides {
		vs.shownNames(field+".overrides", t)
	}
}

// toolsPatch checks what doesn't depend on other fields.
func (vs *Violations) toolsPatch(field string, t *configv1.ServerTools) {
	vs.patterns(field+".allow", t.GetAllow())
	vs.patterns(field+".deny", t.GetDeny())
	vs.word(field+".drift", t.GetDrift(), "alert", "hide")
	at, list := field+".overrides", t.GetOverrides()
	if len(list) > mostOverrides {
		vs.add(at, fmt.Sprintf("there are %d tools", len(list)), fmt.Sprintf("at most %d are possible", mostOverrides))
		return
	}
	tools := make([]string, len(list))
	for i, o := range list {
		tools[i] = o.GetTool()
	}
	vs.list(at, tools, mostOverrides, "tools", func(path, tool string) string {
		vs.toolName(path+".tool", tool)
		return tool
	})
	for i, o := range list {
		vs.override(element(at, i), o)
	}
}

func (vs *Violations) override(at string, o *configv1.ToolOverride) {
	if o.GetName() == "" && o.GetDescription() == "" && len(o.GetParameters()) == 0 && o.GetPin() == "" {
		vs.add(at, "changes nothing", "write name, description, parameters or pin, or remove the entry")
	}
	if name := o.GetName(); name != "" {
		if problem := ShownName(name); problem != "" {
			vs.add(at+".name", problem, shownNameFix)
		}
	}
	vs.prose(at+".description", o.GetDescription(), mostDescription)
	vs.list(at+".parameters", o.GetParameters(), mostParameters, "parameters", func(path, name string) string {
		before := len(*vs)
		vs.exact(path, name, mostToolName, "write the name of a top-level argument, like path")
		return vs.keyed(before, name)
	})
	if o.GetPin() != "" && !IsPin(o.GetPin()) {
		vs.add(at+".pin", "is not a SHA-256 in 64 lower-case hexadecimal digits", "copy what `hopgate tools --pins` prints")
	}
}

// shownNames checks that no two tools are shown under one name, as far as the overrides tell.
func (vs *Violations) shownNames(field string, t *configv1.ServerTools) {
	names, own := map[string]string{}, map[string]string{}
	for i, o := range t.GetOverrides() {
		if shows(t, o.GetTool()) && (o.GetName() == "" || o.GetName() == o.GetTool()) {
			own[o.GetTool()] = element(field, i)
		}
	}
	for i, o := range t.GetOverrides() {
		at, name := element(field, i)+".name", o.GetName()
		if name == "" {
			continue
		}
		if first, twice := names[name]; twice {
			vs.add(at, quote(name)+" is the name in "+first+" already", "give each tool its own")
			continue
		}
		names[name] = element(field, i)
		if other, taken := own[name]; taken && o.GetTool() != name {
			vs.add(at, quote(name)+" is the tool of "+other+", which is shown under it", "give that one another name, deny it, or choose another name here")
		}
	}
}

// shows reports whether a tool is among those that are shown.
func shows(t *configv1.ServerTools, tool string) bool {
	return (len(t.GetAllow()) == 0 || fits(t.GetAllow(), tool)) && !fits(t.GetDeny(), tool)
}

func fits(patterns []string, tool string) bool {
	for _, p := range patterns {
		if begin, some := strings.CutSuffix(p, "*"); p == tool || some && strings.HasPrefix(tool, begin) {
			return true
		}
	}
	return false
}

const (
	mostQueue    = 10_000
	mostFailures = 1000
	mostRetries  = 10
)

func (vs *Violations) resilience(field string, r *configv1.Resilience) {
	vs.resiliencePatch(field, r)
	if r.GetQueue() > 0 && r.GetMaxInFlight() == 0 {
		vs.add(field+".queue", "is set, but max_in_flight isn't: without it no call ever waits", "set max_in_flight, or remove queue")
	}
}

// resiliencePatch checks what doesn't depend on other fields.
func (vs *Violations) resiliencePatch(field string, r *configv1.Resilience) {
	vs.number(field+".max_in_flight", r.GetMaxInFlight(), 0, mostConcurrency, "0 for no limit")
	vs.number(field+".queue", r.GetQueue(), 0, mostQueue, "0 to refuse at once")
	vs.duration(field+".queue_timeout", r.GetQueueTimeout(), time.Millisecond, 10*time.Minute, false)
	vs.number(field+".breaker_failures", max(r.GetBreakerFailures(), 0), 0, mostFailures, "0 for the built-in value, or -1 for never")
	vs.duration(field+".breaker_open", r.GetBreakerOpen(), time.Millisecond, MostBreakerOpen, false)
	vs.duration(field+".health_interval", r.GetHealthInterval(), 100*time.Millisecond, 24*time.Hour, false)
	vs.duration(field+".health_timeout", r.GetHealthTimeout(), time.Millisecond, time.Minute, false)
	vs.number(field+".retries", max(r.GetRetries(), 0), 0, mostRetries, "0 for the built-in value, or -1 for never")
}

// number checks one from least to most; zero says what 0 does.
func (vs *Violations) number(field string, n, least, most int32, zero string) {
	if n < least || n > most {
		vs.add(field, fmt.Sprintf("%d is out of bounds", n), fmt.Sprintf("write a number from 1 to %d, or %s", most, zero))
	}
}

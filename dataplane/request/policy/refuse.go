package policy

import (
	"strconv"
	"strings"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// fields of config in which a limit stands, by the first part of its id.
var fields = map[string]string{
	"key":    "spec.limits.%s of the API key",
	"team":   "spec.limits.%s of the Team",
	"server": "spec.limits.%s of the Server",
	"tool":   "spec.tool_limits[].limits.%s of the Server",
	"jwt":    "spec.limits.%s of the IdentityProvider",
}

// refuse is the fault of a call that a limit doesn't let pass.
func refuse(limit *table.Limit, no refusal) *fault.Error {
	kind, _, _ := strings.Cut(limit.ID, "/")
	field, ok := fields[kind]
	if !ok {
		field = "the limit's %s"
	}
	f := &fault.Error{Hop: fault.Client, Phase: fault.Limit, Kind: fault.Exhausted, RetryAfter: no.wait}
	if no.why == tooMany {
		f.Message = "too many calls in flight: " + limit.Subject + " may have " + strconv.Itoa(limit.Concurrency) + " over the whole fleet"
		f.Hint = "wait for calls to end, or raise " + strings.Replace(field, "%s", "concurrency", 1)
		return f
	}
	f.Message = "too many calls: " + limit.Subject + " may make " + perTime(limit.Rate) + " over the whole fleet"
	f.Hint = "wait as long as Retry-After says, or raise " + strings.Replace(field, "%s", "rate", 1)
	return f
}

// perTime writes a rate a second as operators do.
func perTime(rate float64) string {
	for _, u := range []struct {
		per  float64
		unit string
	}{{1, "/s"}, {60, "/m"}} {
		if rate*u.per >= 1 {
			return strconv.FormatFloat(rate*u.per, 'g', 4, 64) + u.unit
		}
	}
	return strconv.FormatFloat(rate*3600, 'g', 4, 64) + "/h"
}

package balance

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

// mostWords bounds what is kept of a failure's message and hint, each.
const mostWords = 160

// blamed is what is kept of a failure.
func blamed(err error) *fault.Error {
	f := fault.As(err)
	if f == nil {
		at := fault.Headers
		var left interface{ Reached() fault.Phase }
		if errors.As(err, &left) {
			at = left.Reached()
		}
		return &fault.Error{Hop: fault.Upstream, Phase: at, Kind: fault.TimedOut, Message: "the upstream didn't answer in the time there was",
			Hint: "look at why the server needs so long"}
	}
	return &fault.Error{Hop: f.Hop, Phase: f.Phase, Kind: f.Kind, Remote: f.Remote, UpstreamStatus: f.UpstreamStatus,
		Message: clip(f.Message), Hint: clip(f.Hint)}
}

func clip(s string) string {
	if len(s) <= mostWords {
		return s
	}
	return strings.ToValidUTF8(s[:mostWords], "")
}

// Told is a failure in words that fit into a line: where, how, and its message.
func Told(f *fault.Error) string {
	at := f.Phase.String() + "/" + f.Kind.String()
	if f.Message == "" {
		return at
	}
	return at + ": " + f.Message
}

// circuitOpen refuses a call to who gets none. why is the last failure, nil when nobody said; it is the cause in the fault, too.
func (v *Server) circuitOpen(who string, since time.Time, wait time.Duration, why *fault.Error) *fault.Error {
	name := v.Config.Name
	message := who + " gets no calls for a moment: it couldn't be reached or didn't answer " +
		strconv.Itoa(v.Config.Resilience.BreakerFailures) + " times in a row"
	if !since.IsZero() {
		message += ", since " + since.UTC().Format(time.RFC3339)
	}
	f := &fault.Error{Hop: fault.Upstream, Phase: fault.Connect, Kind: fault.CircuitOpen, Server: name, RetryAfter: max(wait, time.Millisecond),
		Hint: "try again later; `hopgate status` shows when the server is back"}
	if why != nil {
		message += "; the last time " + Told(why)
		f.Err = why
		if why.Hint != "" {
			f.Hint = why.Hint + "; `hopgate status` shows when the server is back"
		}
	}
	f.Message = message
	return f
}

// all is who gets no calls when no instance does.
func (v *Server) all() string { return "the server " + v.Config.Name }

// bound is who gets none when the one instance that a session is bound to doesn't.
func (v *Server) bound() string {
	if len(v.Config.Instances) < 2 {
		return v.all()
	}
	return "the instance of the server " + v.Config.Name + " that holds this session"
}

func (v *Server) lost() *fault.Error {
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Session, Kind: fault.NotFound, Server: v.Config.Name,
		Message: "the instance of the server " + v.Config.Name + " that knew this session isn't there any more",
		Hint:    "initialize again; the server's endpoints have changed"}
}

// greedy is for a caller who has its share of the queue already.
func (v *Server) greedy(share int) *fault.Error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Limit, Kind: fault.Exhausted, Server: v.Config.Name, RetryAfter: time.Second,
		Message: "the server " + v.Config.Name + " has as many calls under way as it may here, and this caller already has " + strconv.Itoa(share) +
			" waiting, which is its share of the queue",
		Hint: "wait for answers before sending more; operators set the queue with spec.resilience.queue"}
}

// crowded is the gateway's own protection of a server, no fault of the caller: hence 503.
func (v *Server) crowded(waited bool) *fault.Error {
	r := &v.Config.Resilience
	message := "the server " + v.Config.Name + " has " + strconv.Itoa(r.MaxInFlight) + " calls under way, which is its limit here"
	switch {
	case waited:
		message += ", and none of them ended within " + r.QueueTimeout.String()
	case r.Queue > 0:
		message += ", and " + strconv.Itoa(r.Queue) + " more wait"
	}
	return &fault.Error{Hop: fault.Gateway, Phase: fault.Limit, Kind: fault.Exhausted, Server: v.Config.Name,
		Status: http.StatusServiceUnavailable, RetryAfter: time.Second,
		Message: message, Hint: "try again in a second; operators set the limit with spec.resilience.max_in_flight and the queue with spec.resilience.queue"}
}

package telemetry

import (
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

// AppendHops appends the value of x-mcp-debug-hops: one entry per hop or step that happened, with its outcome and milliseconds, such as
// "auth;ok;0.1, policy;ok;0.0, connect;reused, upstream;ok;23.4". The step that failed bears the fault's kind and is the last. The legs
// of a request to several servers that ended so far follow, each under its server's name, such as "upstream.github;ok;23.4", at most 32.
// It may be called before Finish: open steps count up to now.
func AppendHops(dst []byte, r *Record) []byte {
	h := hopList{dst: dst}
	h.each(r, h.hop)
	h.legs(r, h.hop)
	return h.dst
}

// AppendServerTiming appends the value of Server-Timing with the same steps and legs, such as
// "auth;dur=0.1, policy;dur=0.0, total;dur=23.9".
func AppendServerTiming(dst []byte, r *Record) []byte {
	h := hopList{dst: dst}
	now := ended(r)
	h.each(r, h.timing)
	h.legs(r, h.timing)
	h.timing("total", okWord, now.Sub(r.Start))
	return h.dst
}

const (
	okWord     = "ok"
	reusedWord = "reused"
)

type hopList struct {
	dst  []byte
	some bool
}

func ended(r *Record) time.Time {
	if r.End.IsZero() {
		return time.Now()
	}
	return r.End
}

// each calls show for every step in order; d is negative when it has no time.
func (h *hopList) each(r *Record, show func(name, outcome string, d time.Duration)) {
	now := ended(r)
	p := phasesAt(r, now)
	failed, kind := failedStep(r)
	step := func(name string, d time.Duration, since time.Time) (stop bool) {
		if name == failed {
			if d < 0 {
				d = between(since, now)
			}
			show(name, kind, d)
			return true
		}
		if d >= 0 {
			show(name, okWord, d)
		}
		return false
	}
	u := &r.Upstream
	if step("auth", p.auth, r.Start) || step("read", notable(p.read), r.AuthEnd) || step("policy", p.route, routeStart(r)) ||
		step("credential", p.credential, r.Credential.Start) {
		return
	}
	if u.Reused {
		show("connect", reusedWord, none)
	}
	if step("dns", p.dns, u.DNSStart) || step("connect", p.connect, u.ConnStart) || step("tls", p.tls, u.TLSStart) {
		return
	}
	if step("upstream", p.upstream, u.Start) {
		return
	}
	if failed != "" {
		show(failed, kind, none)
	}
}

// notable hides the time to read a body unless it took long enough to matter.
func notable(d time.Duration) time.Duration {
	if d < time.Millisecond {
		return none
	}
	return d
}

// failedStep names the step of the list that a fault ended, or the hop when it is none of them.
func failedStep(r *Record) (step, kind string) {
	f := r.Fault
	if f == nil {
		return "", ""
	}
	kind = f.Kind.String()
	switch {
	case !r.Credential.Start.IsZero() && r.Routed.IsZero():
		return "credential", kind
	case f.Hop == fault.AuthServer:
		return "auth", kind
	}
	switch f.Phase {
	case fault.Auth:
		return "auth", kind
	case fault.Request:
		return "read", kind
	case fault.Grant, fault.Policy, fault.Limit, fault.Route, fault.Session, fault.Config:
		if f.Hop != fault.Upstream {
			return "policy", kind
		}
	case fault.DNS:
		return "dns", kind
	case fault.Connect:
		return "connect", kind
	case fault.TLS:
		return "tls", kind
	}
	return f.Hop.String(), kind
}

func (h *hopList) next(name string) {
	if h.some {
		h.dst = append(h.dst, ", "...)
	}
	h.some = true
	h.dst = append(h.dst, name...)
}

func (h *hopList) hop(name, outcome string, d time.Duration) {
	h.next(name)
	h.dst = append(h.dst, ';')
	h.dst = append(h.dst, outcome...)
	if d >= 0 {
		h.dst = append(h.dst, ';')
		h.dst = appendTenth(h.dst, d)
	}
}

func (h *hopList) timing(name, outcome string, d time.Duration) {
	h.next(name)
	if outcome != okWord {
		h.dst = append(h.dst, `;desc="`...)
		h.dst = append(h.dst, outcome...)
		h.dst = append(h.dst, '"')
	}
	if d >= 0 {
		h.dst = append(h.dst, ";dur="...)
		h.dst = appendTenth(h.dst, d)
	}
}

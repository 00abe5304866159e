package origin

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/netrange"
)

// mostEntries is how many entries of a list are shown, from the right.
const mostEntries = 32

// Explanation is each step by which a request's place was found, for people and scripts.
type Explanation struct {
	Ingress    string   `json:"ingress,omitempty"` // empty: none is configured
	Peer       string   `json:"peer"`
	Trusted    bool     `json:"trusted"`
	TrustedBy  string   `json:"trusted_by,omitempty"` // the range
	Headers    []Header `json:"headers,omitempty"`
	Client     string   `json:"client"`
	ClientBy   string   `json:"client_by"`
	Ignored    int      `json:"ignored,omitempty"`
	Internal   bool     `json:"internal"`
	InternalBy string   `json:"internal_by,omitempty"` // the range
	Scheme     string   `json:"scheme"`
	SchemeBy   string   `json:"scheme_by"`
	Host       string   `json:"host"`
	HostBy     string   `json:"host_by"`
	Origin     string   `json:"origin"`
	OriginBy   string   `json:"origin_by"`
	Warnings   []string `json:"warnings,omitempty"`
}

// Header is a forwarding header that came.
type Header struct {
	Name    string  `json:"name"`
	Read    bool    `json:"read"`
	Why     string  `json:"why,omitempty"`     // it wasn't read
	Entries []Entry `json:"entries,omitempty"` // in the order of the list
	More    int     `json:"more,omitempty"`    // further entries on the left
}

// Entry is one of a list.
type Entry struct {
	Value   string `json:"value"`
	Verdict string `json:"verdict,omitempty"`
}

// Explain says how Settle and Origin come to what they say.
func (l *Listener) Explain(in *Request, ing *table.Ingress) Explanation {
	f := l.Settle(in, ing)
	e := Explanation{Ingress: ing.Name, Peer: shown(f.Peer), Trusted: f.Trusted, Client: shown(f.Client), ClientBy: f.Why.String(), Ignored: f.Ignored,
		Internal: f.Internal, Scheme: f.Scheme, SchemeBy: f.SchemeFrom.String(), Host: short(f.Host), HostBy: "the Host header"}
	if f.HostFrom != Own {
		e.HostBy = f.HostFrom.String()
	}
	if f.PortFrom != Own {
		e.HostBy += ", port by " + f.PortFrom.String()
	}
	if f.Trusted {
		e.TrustedBy = covering(ing.Proxies, f.Peer)
	}
	if f.Internal {
		e.InternalBy = covering(ing.Internal, f.Client)
	}
	e.Origin, e.OriginBy, _ = l.pick(&f, ing)
	e.Headers = headers(in.Header, &f, ing)
	e.Warnings = append(Warnings(ing), l.warnings(in, &f, ing)...)
	return e
}

// Warnings are what is odd about an ingress, whatever is asked.
func Warnings(ing *table.Ingress) (out []string) {
	switch {
	case ing.Closed:
		return []string{"the ingress " + ing.Name + " was rejected by this data plane: no proxy is trusted and every caller is external"}
	case ing.Forwarded && ing.Proxies.Empty():
		return []string{"use_forwarded_headers is on without trusted_proxies: forwarding headers are ignored"}
	case !ing.Forwarded && !ing.Proxies.Empty():
		return []string{"trusted_proxies are set but use_forwarded_headers is off: forwarding headers are ignored"}
	}
	return nil
}

func (l *Listener) warnings(in *Request, f *Facts, ing *table.Ingress) (out []string) {
	if k := passedBy(in.Header); k != "" && !f.Trusted {
		out = append(out, "the peer "+shown(f.Peer)+" sends "+strings.ToLower(k)+" and isn't a trusted proxy: it is not believed")
	}
	if f.Trusted {
		out = append(out, untaken(in.Header, f, ing)...)
	}
	if _, _, listed := l.pick(f, ing); !listed {
		out = append(out, "no public origin is for the host "+short(f.Host)+": the first is taken")
	}
	return out
}

// untaken are the warnings about what a trusted proxy told and we couldn't use.
func untaken(h http.Header, f *Facts, ing *table.Ingress) (out []string) {
	if ing.RFC && len(h["Forwarded"]) > 0 {
		return nil
	}
	for name, named := range map[string]bool{"X-Forwarded-Proto": ing.Proto, "X-Forwarded-Host": ing.Host, "X-Forwarded-Port": ing.Port} {
		lines := h[name]
		if !named || len(lines) == 0 {
			continue
		}
		c := list{lines: lines}
		if n := c.left(); n <= f.Hops {
			out = append(out, strings.ToLower(name)+" has "+strconv.Itoa(n)+" of "+strconv.Itoa(f.Hops+1)+" entries: the last one is taken")
		}
		if !used(name, f) && (name != "X-Forwarded-Port" || !hasPort(f.Host)) {
			out = append(out, "the entry of "+strings.ToLower(name)+" can't be used")
		}
	}
	slices.Sort(out)
	return out
}

// covering returns the first range that holds an address.
func covering(s netrange.Set, a netip.Addr) string {
	for _, r := range s.Ranges() {
		if p, err := netrange.Parse(r); err == nil && p.Contains(a) {
			return r
		}
	}
	return "the private ranges"
}

func shown(a netip.Addr) string {
	if !a.IsValid() {
		return "unknown"
	}
	return a.String()
}

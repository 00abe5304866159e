package reply

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// Leg is what diagnostics tell of one server of a request to several.
type Leg struct {
	Server     *table.Server
	Resolution string       // as Reply has it
	Token      string       // as Reply has it
	Revision   string       // of MCP in which it is spoken to; empty: not known
	Instance   string       // that was asked; empty: not known
	Fault      *fault.Error // why it failed, nil when it didn't
	Kept       bool         // it wasn't asked: its part of the answer was in memory
}

// Legs are the servers that the answer of a request to several is made of. Add is safe for concurrent use, nil takes nothing, and a leg that ends behind its
// request harms nobody: Legs belong to one request and are never used again.
type Legs struct {
	mu   sync.Mutex
	list []Leg // guarded by mu
}

// Add notes a leg, as far as it is known. Of several of one server the last one that was asked counts.
func (l *Legs) Add(leg Leg) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, leg)
}

// sorted returns a copy in the order of names, with each server once.
func (l *Legs) sorted() []Leg {
	l.mu.Lock()
	list := slices.Clone(l.list)
	l.mu.Unlock()
	slices.Reverse(list) // so that the last one of a server is kept
	slices.SortStableFunc(list, func(a, b Leg) int {
		switch {
		case a.Server.Name != b.Server.Name:
			return cmp.Compare(a.Server.Name, b.Server.Name)
		case a.Kept == b.Kept:
			return 0
		case b.Kept:
			return -1
		}
		return 1
	})
	return slices.CompactFunc(list, func(a, b Leg) bool { return a.Server.Name == b.Server.Name })
}

// diagnoseSeveral adds the headers about servers for a request to several: one value where it is the same for all, else one for each server.
// What left for servers is told of those that were asked.
func (r *Reply) diagnoseSeveral(h http.Header) {
	legs := r.Legs.sorted()
	if r.Principal.Debug {
		h["X-Mcp-Debug-Route"] = []string{r.routes(legs)}
	}
	if len(legs) == 0 {
		return
	}
	h["X-Mcp-Debug-Server-Auth-Type"] = []string{each(legs, (*Leg).authType)}
	if legs = slices.DeleteFunc(legs, func(l Leg) bool { return l.Kept }); len(legs) == 0 {
		return
	}
	h["X-Mcp-Debug-Oauth2-Token"] = []string{each(legs, (*Leg).token)}
	h["X-Mcp-Debug-Auth-Resolution"] = []string{"multiple"}
	if word, ok := same(legs, (*Leg).resolution); ok {
		h["X-Mcp-Debug-Auth-Resolution"] = []string{word}
	}
	if urls := joined(legs, "; ", (*Leg).url); urls != "" {
		h["X-Mcp-Debug-Outbound-Url"] = []string{urls}
	}
}

func (l *Leg) token() string      { return tokenOf(l.Token, l.Fault) }
func (l *Leg) authType() string   { return cmp.Or(l.Server.Auth.Type, "none") }
func (l *Leg) resolution() string { return cmp.Or(l.Resolution, "no-auth") }

func (l *Leg) url() string {
	if l.Server.Target == nil {
		return ""
	}
	return l.Server.Name + "=" + l.Server.Target.Masked
}

func (l *Leg) route() string {
	s := "server=" + l.Server.Name + "; transport=" + l.Server.Transport
	if l.Revision != "" {
		s += "; revision=" + l.Revision
	}
	if l.Instance != "" {
		s += "; instance=" + l.Instance
	}
	if l.Kept {
		s += "; from=memory"
	}
	return s
}

// routes tells in which dialect the caller spoke, and of each server how it was spoken to.
func (r *Reply) routes(legs []Leg) string {
	ours := string(r.appendDialect(append([]byte("region="), r.Region...)))
	if len(legs) == 0 {
		return ours
	}
	return ours + ", " + joined(legs, ", ", (*Leg).route)
}

// same returns the value that all legs have; ok is false when they differ.
func same(legs []Leg, value func(l *Leg) string) (first string, ok bool) {
	first = value(&legs[0])
	for i := range legs {
		if value(&legs[i]) != first {
			return "", false
		}
	}
	return first, true
}

// each is the value that all legs have, or server=value of each.
func each(legs []Leg, value func(l *Leg) string) string {
	if all, ok := same(legs, value); ok {
		return all
	}
	return joined(legs, "; ", func(l *Leg) string { return l.Server.Name + "=" + value(l) })
}

// longest is about how many bytes a header about several servers has: proxies in front of us bound the head of an answer, often at 8 KiB.
const longest = 1 << 10

// joined puts what there is to say of each leg into one line, as far as it fits, and counts the legs that don't.
func joined(legs []Leg, between string, entry func(l *Leg) string) string {
	var b strings.Builder
	for i := range legs {
		text := entry(&legs[i])
		if text == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(between)
		}
		if b.Len() > 0 && b.Len()+len(text) > longest {
			b.WriteString("more=" + strconv.Itoa(len(legs)-i))
			break
		}
		b.WriteString(text)
	}
	return b.String()
}

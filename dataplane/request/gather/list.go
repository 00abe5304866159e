package gather

import (
	"github.com/hopgate/hopgate/dataplane/request/message"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/route"
	"github.com/hopgate/hopgate/dataplane/request/session"
	"github.com/hopgate/hopgate/proto/fault"
)

// MaxPage is up to how many bytes of items a page has. A larger item has a page of its own.
const MaxPage = 4 << 20

// maxMark is the longest name behind which a page may end: it has to fit into a cursor.
const maxMark = 8 << 10

// Page is what one page of a list is made from.
type Page struct {
	Scope *route.Scope
	Kind  catalogue.Kind
	// Parts are the members in the order of names, those without a list included.
	Parts []ListPart
	// After is the item that the page begins behind; zero: the first page.
	After session.Cursor
	// Most items; less than 1 means 1.
	Most int
	// Modern answers have a result type and cache hints (MCP 2026-07-28).
	Modern bool
	// Now lowers the cache hint by the age of what is in memory; zero: it doesn't.
	Now      time.Time
	Outcomes []Outcome
}

// ListPart is one member's list; nil when there is none.
type ListPart struct {
	Member route.Member
	List   *catalogue.List
}

// AppendList appends the response to the request for a list with that raw id: what the scope shows of the parts, in the order of servers and
// of the servers' own names, or for the tools of a toolset in its own order. Items stay as their servers sent them but for what the scope
// shows otherwise: names, descriptions and parameters of tools, names of prompts, URIs. A tool or prompt that has lost its name to another one
// isn't listed: it can't be called either.
//
// When more follows, seal makes the cursor of the next page: it holds the last item, so that nothing is skipped or repeated when others come
// and go. Errors are those of seal, with dst as it was, and *fault.Error of hop=client, phase=request, kind=malformed (-32602) when After is
// of another kind of list.
//
// The outcome of a server that lists what can't be used gets a warning: such items are in no list, here or in the catalogue.
func AppendList(dst, id []byte, p Page, seal func(session.Cursor) (string, error)) ([]byte, error) {
	if p.After.Method != "" && p.After.Method != p.Kind.Method() {
		return dst, otherList()
	}
	start := len(dst)
	dst = appendHead(dst, id)
	if p.Modern {
		dst = append(dst, `"resultType":"complete",`...)
	}
	dst = append(dst, '"')
	dst = append(dst, p.Kind.Member()...)
	dst = append(dst, `":[`...)
	w := walk{page: &p, dst: dst, from: len(dst)}
	w.run()
	dst = append(w.dst, ']')
	if w.more {
		next, err := seal(w.last)
		if err != nil {
			return dst[:start], err
		}
		dst = append(dst, `,"nextCursor":`...)
		dst = message.AppendQuoted(dst, next)
	}
	if p.Modern {
		dst = p.appendHints(dst)
	}
	dst = append(dst, `,"_meta":{`...)
	dst = appendMeta(dst, p.warned())
	return append(dst, "}}}"...), nil
}

func otherList() error {
	return &fault.Error{Hop: fault.Client, Phase: fault.Request, Kind: fault.Malformed, Status: http.StatusBadRequest, Code: fault.CodeInvalidParams,
		Message: "bad cursor: it belongs to another list", Hint: "ask for the first page, without a cursor"}
}

func (p *Page) appendHints(dst []byte) []byte {
	dst = append(dst, `,"ttlMs":`...)
	dst = strconv.AppendInt(dst, p.ttl().Milliseconds(), 10)
	if p.private() {
		return append(dst, `,"cacheScope":"private"`...)
	}
	return append(dst, `,"cacheScope":"public"`...)
}

// ttl is how long the page may be kept: as the shortest-lived of its lists, and never for long when something is missing.
func (p *Page) ttl() time.Duration {
	least, any := shortTTL, false
	for i := range p.Parts {
		l := p.Parts[i].List
		if l == nil {
			continue
		}
		left := l.TTL
		if !p.Now.IsZero() && !l.Fetched.IsZero() {
			left -= max(0, p.Now.Sub(l.Fetched))
		}
		if !any || left < least {
			least, any = left, true
		}
	}
	if !allOK(p.Outcomes) {
		least = min(least, shortTTL)
	}
	return max(0, least)
}

// everybody is the principal that all callers are where none has to say who it is (table.Principal.ID).
const everybody = "anonymous"

// private reports whether the page is for this caller only. What callers may reach depends on who they are, so that a page is for all only
// where all are the same one, who may use everything, no server says otherwise, and none is sent headers of a caller's choice.
func (p *Page) private() bool {
	if p.Scope.Principal == nil || p.Scope.Principal.ID != everybody {
		return true
	}
	for i := range p.Parts {
		part := &p.Parts[i]
		s := part.Member.Server
		if !part.Member.Access.Free() || s.Internal || !s.Ranges.Empty() || len(s.ClientHeaders)+len(s.ForwardHeaders) > 0 {
			return true
		}
		if part.List != nil && part.List.Private {
			return true
		}
	}
	return false
}

// part returns the member of that name.
func (p *Page) part(server string) *ListPart {
	i, ok := slices.BinarySearchFunc(p.Parts, server, func(part ListPart, name string) int { return strings.Compare(part.Member.Server.Name, name) })
	if !ok || p.Parts[i].List == nil {
		return nil
	}
	return &p.Parts[i]
}

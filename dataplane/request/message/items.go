package message

import (
	"net/http"
	"strconv"
	"time"

	"github.com/hopgate/hopgate/proto/fault"
)

// Item is one element of a list of tools, prompts, resources or resource templates.
type Item struct {
	// Name is what it is called by, decoded: its name; the uri of a resource; the uriTemplate of a template.
	Name string
	// Raw is the element as it came, a subslice of the message.
	Raw []byte
	// ReadOnly and Idempotent are the hints of a tool's annotations; false when they aren't there, or there twice.
	ReadOnly, Idempotent bool
}

// Listed is one page of a list.
type Listed struct {
	Items []Item
	// Next is the cursor of the next page; empty: this is the last one.
	Next string
	// TTL is how long the page may be kept, at most a day; HasTTL says whether the server told (ttlMs, MCP 2026-07-28).
	TTL    time.Duration
	HasTTL bool
	// Private says that the page is for this caller alone (cacheScope).
	Private bool
	// Nameless is how many elements were left out because nothing can be called by them.
	Nameless int
}

// longest bounds what a server may tell of how long its lists stay true.
const longest = 24 * time.Hour

// Items reads the answer to a list request. member is tools, prompts, resources or resourceTemplates; a result without it, or with null in
// its place, is an empty page.
//
// It is as strict as FilterTools. An element that isn't an object, that has no name (uri, uriTemplate) or one that is empty, no string or no
// valid Unicode, or that has one of its own members twice, is left out and counted. Errors are *fault.Error of hop=upstream, phase=protocol: kind=malformed
// for what isn't a JSON-RPC response, nests deeper than MaxDepth, has a member twice at the root or in result, or has something else than a
// list there; with Remote set for a JSON-RPC error, kind=unsupported when the method isn't known, else kind=refused.
func Items(data []byte, member string) (Listed, error) {
	p := page{c: cursor{b: data, limit: MaxDepth}, member: member, subject: subjectOf(member)}
	p.c.space()
	p.message()
	if p.c.space(); p.c.fail == fine && p.c.i != len(data) {
		p.c.fail = syntax
	}
	switch {
	case p.c.fail != fine:
		return Listed{}, unreadable(p.c.fail, "result."+member, "it can't be listed")
	case p.err.Present() && !p.result.Present():
		return Listed{}, answered(data, p.err)
	case !p.result.opens(data, '{'):
		return Listed{}, unreadable(notRPC, "", "it can't be listed")
	}
	return p.listed, nil
}

// subjectOf returns the member that an element of a list is called by.
func subjectOf(member string) string {
	switch member {
	case "resources":
		return "uri"
	case "resourceTemplates":
		return "uriTemplate"
	}
	return "name"
}

// page walks an answer.
type page struct {
	c               cursor
	member, subject string
	listed          Listed
	result, err     Span
}

func (p *page) message() {
	if !p.c.at('{') {
		p.c.value()
		return
	}
	p.c.object(func(name []byte) {
		switch string(name) {
		case "result":
			p.result = p.c.descend(p.body)
		case "error":
			p.err = p.c.value()
		default:
			p.c.value()
		}
	})
}

func (p *page) body() {
	c := &p.c
	c.object(func(name []byte) {
		switch string(name) {
		case p.member:
			p.list()
		case "nextCursor":
			at := c.value()
			p.listed.Next = text(at, c.b, len(c.b))
		case "ttlMs":
			at := c.value()
			p.listed.TTL, p.listed.HasTTL = milliseconds(at.Of(c.b))
		case "cacheScope":
			at := c.value()
			p.listed.Private = equal("private", at, c.b)
		default:
			c.value()
		}
	})
}

func (p *page) list() {
	switch {
	case p.c.at('['):
		p.c.list(func(start int) {
			item, ok := p.item()
			switch {
			case p.c.fail != fine:
			case ok:
				item.Raw = p.c.b[start:p.c.i:p.c.i]
				p.listed.Items = append(p.listed.Items, item)
			default:
				p.listed.Nameless++
			}
		})
	case p.c.at('n'):
		p.c.value()
	default:
		p.c.fail = unlisted
	}
}

// item consumes an element; ok is false for one that is left out.
func (p *page) item() (item Item, ok bool) {
	c, subject, annotations := &p.c, Span{}, Span{}
	i, open, n := c.i, c.open, c.n
	if !c.at('{') {
		c.value()
		return item, false
	}
	c.object(func(name []byte) {
		at := c.value()
		switch string(name) {
		case p.subject:
			subject = at
		case "annotations":
			annotations = at
		}
	})
	if c.fail == repeated || c.fail == unsound {
		c.i, c.open, c.n, c.fail = i, open, n, fine
		c.value()
		return item, false
	}
	if c.fail != fine {
		return item, false
	}
	if item.Name = text(subject, c.b, len(c.b)); item.Name == "" {
		return item, false
	}
	if annotations.opens(c.b, '{') {
		item.ReadOnly, item.Idempotent = hints(c.b, annotations.Start)
	}
	return item, true
}

// hints reads the annotations of a tool. What can be read in two ways says nothing.
func hints(b []byte, i int) (readOnly, idempotent bool) {
	var at [2]Span
	if _, ok := pick(b, i, at[:], "readOnlyHint", "idempotentHint"); !ok {
		return false, false
	}
	return string(at[0].Of(b)) == "true", string(at[1].Of(b)) == "true"
}

// milliseconds reads a raw number; ok is false for anything else.
func milliseconds(raw []byte) (d time.Duration, ok bool) {
	if len(raw) == 0 || len(raw) > 32 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	ms, _ := strconv.ParseFloat(string(raw), 64) // what is out of range becomes infinite
	ms = min(max(ms, 0), float64(longest/time.Millisecond))
	return time.Duration(ms * float64(time.Millisecond)), true
}

// answered is a JSON-RPC error that a server answered with. Its words stay behind: they are the server's.
func answered(data []byte, at Span) *fault.Error {
	a := answer{b: data, error: at}
	f := &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Refused, Remote: true, Status: http.StatusBadGateway,
		Message: "the server answered with the JSON-RPC error " + a.codeString()}
	if code, _ := a.code(); code == fault.CodeMethodNotFound {
		f.Kind = fault.Unsupported
	}
	return f
}

package message

import (
	"bytes"
	"slices"
)

// WrapURIs appends a message of a server to dst with its URIs as wrap gives them, and every other byte as it was: those of resource links and
// embedded resources in result.content and result.messages, of result.contents, the links to user interfaces in the _meta of a result or of
// one of those (ui.resourceUri, ui/resourceUri), and params.uri of notifications/resources/updated. Names spelled with escapes count. Batches
// are edited message by message. changed is false when nothing was to be wrapped, or wrap returned each as it was.
//
// A message in which no URI can be is copied without a look at its grammar. Errors are *fault.Error of hop=upstream, phase=protocol,
// kind=malformed, with dst as it was: not JSON, nested deeper than MaxDepth, or a member twice in one of the objects on the way to a URI. dst
// must not overlap data.
func WrapURIs(dst, data []byte, wrap func(uri string) string) (out []byte, changed bool, err error) {
	if !mayHoldURI(data) {
		return append(dst, data...), false, nil
	}
	u := uris{c: cursor{b: data, limit: MaxDepth}}
	u.c.space()
	u.each(u.message)
	if u.c.space(); u.c.fail == fine && u.c.i != len(data) {
		u.c.fail = syntax
	}
	if u.c.fail != fine {
		return dst, false, unreadable(u.c.fail, "", "the addresses in it can't be told apart")
	}
	slices.SortFunc(u.found, func(a, b Span) int { return a.Start - b.Start })
	p := patch{dst: dst, src: data}
	for _, at := range u.found {
		p.wrap(at, wrap)
	}
	changed = p.from > 0
	return p.rest(), changed, nil
}

var uriSpellings = [...][]byte{[]byte("uri"), []byte("Uri"), []byte(`\u`)}

// mayHoldURI reports whether some member of data could be named uri or resourceUri.
func mayHoldURI(data []byte) bool {
	for _, s := range uriSpellings {
		if bytes.Contains(data, s) {
			return true
		}
	}
	return false
}

// uris walks a message and notes where URIs stand.
type uris struct {
	c     cursor
	found []Span
}

func (u *uris) note(at Span) {
	if at.opens(u.c.b, '"') {
		u.found = append(u.found, at)
	}
}

// each calls walk for the object at the cursor, or for each object of the list there; it consumes everything else.
func (u *uris) each(walk func()) {
	if !u.c.at('[') {
		u.c.descend(walk)
		return
	}
	u.c.list(func(int) { u.c.descend(walk) })
}

func (u *uris) message() {
	var method, uri Span
	u.c.object(func(name []byte) {
		switch string(name) {
		case "method":
			method = u.c.value()
		case "params":
			u.c.descend(func() { uri = u.member("uri") })
		case "result":
			u.c.descend(u.result)
		default:
			u.c.value()
		}
	})
	if equal("notifications/resources/updated", method, u.c.b) {
		u.note(uri)
	}
}

// member walks the object at the cursor and returns where one of its members stands.
func (u *uris) member(want string) (found Span) {
	u.c.object(func(name []byte) {
		if at := u.c.value(); string(name) == want {
			found = at
		}
	})
	return found
}

func (u *uris) result() {
	u.c.object(func(name []byte) {
		switch string(name) {
		case "content":
			u.each(u.content)
		case "contents":
			u.each(u.resource)
		case "messages":
			u.each(u.prompt)
		case "_meta":
			u.c.descend(u.meta)
		default:
			u.c.value()
		}
	})
}

// prompt walks a message of a prompt.
func (u *uris) prompt() {
	u.c.object(func(name []byte) {
		if string(name) == "content" {
			u.each(u.content)
		} else {
			u.c.value()
		}
	})
}

// content walks a content block, whose type decides which URI of it is one.
func (u *uris) content() {
	var kind, link, embedded Span
	u.c.object(func(name []byte) {
		switch string(name) {
		case "type":
			kind = u.c.value()
		case "uri":
			link = u.c.value()
		case "resource":
			u.c.descend(func() { embedded = u.member("uri") })
		case "_meta":
			u.c.descend(u.meta)
		default:
			u.c.value()
		}
	})
	switch {
	case equal("resource_link", kind, u.c.b):
		u.note(link)
	case equal("resource", kind, u.c.b):
		u.note(embedded)
	}
}

// resource walks the contents of a resource.
func (u *uris) resource() {
	u.c.object(func(name []byte) {
		switch string(name) {
		case "uri":
			u.note(u.c.value())
		case "_meta":
			u.c.descend(u.meta)
		default:
			u.c.value()
		}
	})
}

func (u *uris) meta() {
	u.c.object(func(name []byte) {
		switch string(name) {
		case "ui/resourceUri":
			u.note(u.c.value())
		case "ui":
			u.c.descend(func() { u.note(u.member("resourceUri")) })
		default:
			u.c.value()
		}
	})
}

package message

import "bytes"

// FilterTools appends body to dst without those tools of result.tools whose name keep refuses. keep gets names decoded, in the order in which
// they stand. Every other byte stays as it was: order, blanks, unknown members, the tools that stay. A body without result.tools is copied
// unchanged; a batch is filtered message by message.
//
// What could show a tool to one parser and hide it from another isn't passed on. An element of the list that isn't an object, has no name, a
// name that is no string or no valid Unicode, or one of its own members twice, is left out without asking keep. A body that isn't JSON, that
// nests deeper than MaxDepth, that has a member twice at the root or in result, or whose result.tools is neither a list nor null, is refused
// with a *fault.Error of hop=upstream, phase=protocol, kind=malformed, and dst is returned as it was. dst must not overlap body.
func FilterTools(dst, body []byte, keep func(name string) bool) ([]byte, error) {
	return rule{keep: keep}.apply(dst, body)
}

// rule says what becomes of a tool; one of the two is set.
type rule struct {
	keep func(name string) bool
	edit func(name string) (View, bool)
}

func (r rule) judge(name string) (View, bool) {
	if r.edit != nil {
		return r.edit(name)
	}
	return View{}, r.keep(name)
}

func (r rule) apply(dst, body []byte) ([]byte, error) {
	f := filter{patch: patch{dst: dst, src: body}, c: cursor{b: body, limit: MaxDepth}, rule: r}
	f.c.space()
	if f.c.at('[') {
		f.c.list(func(int) { f.message() })
	} else {
		f.message()
	}
	if f.c.space(); f.c.fail == fine && f.c.i != len(body) {
		f.c.fail = syntax
	}
	if f.c.fail != fine {
		return dst, unreadable(f.c.fail, "result.tools", "it can't be narrowed to the tools that this caller may use")
	}
	return f.rest(), nil
}

// FilterEvent does what FilterTools does to the message that a raw server-sent event carries. Events without a message are copied unchanged.
// Where tools were left out, the data lines are written anew in place of the first; other fields and comments stay as they were. changed
// says whether the event was written anew. Errors are those of FilterTools, with dst as it was.
func FilterEvent(dst, event []byte, keep func(name string) bool) (out []byte, changed bool, err error) {
	return rule{keep: keep}.event(dst, event)
}

func (r rule) event(dst, event []byte) (out []byte, changed bool, err error) {
	start := len(dst)
	dst, ok := Data(dst, event)
	end := len(dst)
	data := dst[start:end:end]
	if !ok || !mayHoldMessage(data) {
		return append(dst[:start], event...), false, nil
	}
	// The stages stand one behind the other in dst, so that a warm buffer is enough: data, what stays of it, the new event.
	if dst, err = r.apply(dst, data); err != nil {
		return dst[:start], false, err
	}
	filtered := dst[end:]
	if bytes.Equal(filtered, data) && !bytes.Contains(event, byteOrderMark) {
		return append(dst[:start], event...), false, nil
	}
	end = len(dst)
	dst = rebuild(dst, event, filtered)
	return append(dst[:start], dst[end:]...), true, nil
}

func mayHoldMessage(data []byte) bool {
	i := space(data, 0)
	return i < len(data) && (data[i] == '{' || data[i] == '[')
}

// filter copies a body while it walks it.
type filter struct {
	patch
	c    cursor
	rule rule
}

// message walks the value at the cursor as a message.
func (f *filter) message() { f.member("result", f.result) }

func (f *filter) result() {
	if !f.c.at('{') {
		f.c.value()
		return
	}
	f.c.object(func(n []byte) {
		switch string(n) {
		case "tools":
			f.list()
		case "cacheScope":
			f.scope()
		default:
			f.c.value()
		}
	})
}

func (f *filter) list() {
	switch {
	case f.c.at('['):
		f.tools()
	case f.c.at('n'):
		f.c.value()
	default:
		f.c.fail = unlisted
	}
}

// scope makes a list that is shown otherwise to some callers a private one: caches on the way would serve it to others (2026-07-28, caching).
func (f *filter) scope() {
	if at := f.c.value(); f.c.fail == fine && f.rule.edit != nil && at.opens(f.src, '"') {
		f.quote(at, "private")
	}
}

// member walks the value at the cursor; where it is an object with that member, walk consumes it.
func (f *filter) member(name string, walk func()) {
	if !f.c.at('{') {
		f.c.value()
		return
	}
	f.c.object(func(n []byte) {
		if string(n) == name {
			walk()
		} else {
			f.c.value()
		}
	})
}

// tools walks the list and leaves out what isn't wanted, each with one of the commas beside it.
func (f *filter) tools() {
	kept, last, gap := false, 0, false
	f.c.list(func(start int) {
		if gap {
			f.from = start // the first to stay takes the place of the first there was
		}
		v, wanted := f.tool()
		switch {
		case f.c.fail != fine:
		case wanted:
			kept, gap = true, false
			if f.rule.edit != nil {
				f.upTo(start)
				f.dst, f.from = AppendItem(f.dst, f.src[start:f.c.i], v, nil), f.c.i
			}
		case kept:
			f.upTo(last)
			f.from = f.c.i
		default:
			if !gap {
				f.upTo(start)
			}
			f.from, gap = f.c.i, true
		}
		last = f.c.i
	})
}

// tool consumes an element of the list and reports how it is shown, and whether it stays. One that parsers could read differently doesn't,
// which is no reason to refuse the list.
func (f *filter) tool() (v View, ok bool) {
	c, name := &f.c, Span{}
	i, open, n := c.i, c.open, c.n
	f.member("name", func() { name = c.value() })
	if c.fail == repeated || c.fail == unsound {
		c.i, c.open, c.n, c.fail = i, open, n, fine
		c.value()
		return v, false
	}
	if c.fail != fine || !name.opens(c.b, '"') {
		return v, false
	}
	text, ok := decode(inner(name, c.b), nil)
	if !ok {
		return v, false
	}
	return f.rule.judge(string(text))
}

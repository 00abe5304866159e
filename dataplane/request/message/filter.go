package message

import (
	"bytes"
	"net/http"

	"github.com/hopgate/hopgate/proto/fault"
)

// FilterTools appends body to dst without those tools of result.tools whose name keep refuses. keep gets names decoded, in the order in which
// they stand. Every other byte stays as it was: order, blanks, unknown members, the tools that stay. A body without result.tools is copied
// unchanged; a batch is filtered message by message.
//
// What could show a tool to one parser and hide it from another isn't passed on. An element of the list that isn't an object, has no name, a
// name that is no string or no valid Unicode, or one of its own members twice, is left out without asking keep. A body that isn't JSON, that
// nests deeper than MaxDepth, that has a member twice at the root or in result, or whose result.tools is neither a list nor null, is refused
// with a *fault.Error of hop=upstream, phase=protocol, kind=malformed, and dst is returned as it was. dst must not overlap body.
func FilterTools(dst, body []byte, keep func(name string) bool) ([]byte, error) {
	f := filter{c: cursor{b: body, limit: MaxDepth}, dst: dst, keep: keep}
	f.c.space()
	if f.c.at('[') {
		f.list(func(int) { f.message() })
	} else {
		f.message()
	}
	if f.c.space(); f.c.fail == fine && f.c.i != len(body) {
		f.c.fail = syntax
	}
	if f.c.fail != fine {
		return dst, misleading(f.c.fail)
	}
	return append(f.dst, body[f.from:]...), nil
}

// FilterEvent does what FilterTools does to the message that a raw server-sent event carries. Events without a message are copied unchanged.
// Where tools were left out, the data lines are written anew in place of the first; other fields and comments stay as they were. changed
// says whether the event was written anew. Errors are those of FilterTools, with dst as it was.
func FilterEvent(dst, event []byte, keep func(name string) bool) (out []byte, changed bool, err error) {
	start := len(dst)
	dst, ok := Data(dst, event)
	end := len(dst)
	data := dst[start:end:end]
	if !ok || !mayHoldMessage(data) {
		return append(dst[:start], event...), false, nil
	}
	// The stages stand one behind the other in dst, so that a warm buffer is enough: data, what stays of it, the new event.
	if dst, err = FilterTools(dst, data, keep); err != nil {
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

// rebuild copies an event with data in place of its data lines.
func rebuild(dst, event, data []byte) []byte {
	for written := false; len(event) > 0; {
		n := lineLen(event)
		if _, _, is := field(event[:n], "data"); !is {
			dst = append(dst, event[:n]...)
		} else if !written {
			dst, written = appendData(dst, data), true
		}
		event = event[n:]
	}
	return dst
}

// lineLen is the length of the first line with its end: LF, CR or CRLF.
func lineLen(b []byte) int {
	i := bytes.IndexAny(b, "\r\n")
	switch {
	case i < 0:
		return len(b)
	case b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n':
		return i + 2
	}
	return i + 1
}

// appendData appends data as data lines; it has no CR, since it came from lines.
func appendData(dst, data []byte) []byte {
	for more := true; more; {
		var line []byte
		line, data, more = bytes.Cut(data, lineFeed)
		dst = append(dst, "data: "...)
		dst = append(dst, line...)
		dst = append(dst, '\n')
	}
	return dst
}

var lineFeed = []byte("\n")

// filter copies a body while it walks it.
type filter struct {
	c    cursor
	dst  []byte
	from int // what of the body is copied, or left out
	keep func(name string) bool
}

// message walks the value at the cursor as a message.
func (f *filter) message() {
	f.member("result", func() {
		f.member("tools", func() {
			switch {
			case f.c.at('['):
				f.tools()
			case f.c.at('n'):
				f.c.value()
			default:
				f.c.fail = unlisted
			}
		})
	})
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
	f.list(func(start int) {
		if gap {
			f.from = start // the first to stay takes the place of the first there was
		}
		wanted := f.tool()
		switch {
		case f.c.fail != fine:
		case wanted:
			kept, gap = true, false
		case kept:
			f.copy(last)
			f.from = f.c.i
		default:
			if !gap {
				f.copy(start)
			}
			f.from, gap = f.c.i, true
		}
		last = f.c.i
	})
}

// copy appends what lies between what was copied and end.
func (f *filter) copy(end int) { f.dst = append(f.dst, f.c.b[f.from:end]...) }

// tool consumes an element of the list and reports whether it stays. One that parsers could read differently doesn't, which is no reason to
// refuse the list.
func (f *filter) tool() bool {
	c, name := &f.c, Span{}
	i, open, n := c.i, c.open, c.n
	f.member("name", func() { name = c.value() })
	if c.fail == repeated || c.fail == unsound {
		c.i, c.open, c.n, c.fail = i, open, n, fine
		c.value()
		return false
	}
	if c.fail != fine || !name.opens(c.b, '"') {
		return false
	}
	text, ok := decode(inner(name, c.b), nil)
	return ok && f.keep(string(text))
}

// list walks the array at the cursor; element gets each one's offset and consumes it.
func (f *filter) list(element func(start int)) {
	c := &f.c
	if c.open++; c.open > c.limit {
		c.fail = deep
		return
	}
	c.i++
	c.space()
	for first := true; c.fail == fine && !c.at(']'); first = false {
		if !first && !c.comma() {
			return
		}
		element(c.i)
		if c.fail == fine {
			c.space()
		}
	}
	if c.fail == fine {
		c.i++
		c.open--
	}
}

// misleading is an upstream's answer of which a caller who may not see all tools gets nothing.
func misleading(why problem) *fault.Error {
	text := "isn't valid JSON"
	switch why {
	case deep:
		text = "is nested too deeply"
	case repeated, repeatedID, unsound:
		text = "has a member twice, or one whose name isn't valid Unicode"
	case unlisted:
		text = "has something other than a list in result.tools"
	}
	return &fault.Error{Hop: fault.Upstream, Phase: fault.Protocol, Kind: fault.Malformed, Status: http.StatusBadGateway,
		Message: "the server's answer " + text + ", so it can't be narrowed to the tools that this caller may use"}
}

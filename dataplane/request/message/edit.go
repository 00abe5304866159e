package message

// View is how a tool or prompt is shown instead of as its server shows it.
type View struct {
	// Name it is shown under; empty: its own.
	Name string
	// Description it is shown with; empty: its own.
	Description string
	// Parameters are those of a tool's top-level arguments that are shown; nil: all.
	Parameters []string
}

// AppendItem appends an element of a list to dst as v shows it: with another name and description (which is put behind the name if there was
// none), and with only those properties, and required names, of its inputSchema that v has. URIs go through wrap, if it isn't nil: uri,
// uriTemplate, and the link to a user interface in _meta (ui.resourceUri, or ui/resourceUri as older servers have it). Every other byte stays
// as it was: the title, order, blanks, unknown members, the spelling of numbers.
//
// raw must be an Item's; what isn't a JSON object is copied unchanged. dst must not overlap raw.
func AppendItem(dst, raw []byte, v View, wrap func(uri string) string) []byte {
	it := item{patch: patch{dst: dst, src: raw}, view: v, uri: wrap}
	it.bare = v.Description != "" && !has(raw, "description")
	if !fields(raw, space(raw, 0), it.member) {
		return append(dst, raw...)
	}
	return it.rest()
}

// item is an element of a list while it is copied.
type item struct {
	patch
	view View
	uri  func(uri string) string
	bare bool // it has no description and shall have one
}

func (it *item) member(name, at Span) bool {
	var room [32]byte
	switch string(spelled(it.src, name, room[:0])) {
	case "name":
		it.name(at)
	case "description":
		if it.view.Description != "" {
			it.text(at, it.view.Description)
		}
	case "inputSchema":
		if it.view.Parameters != nil {
			fields(it.src, at.Start, it.schema)
		}
	case "uri", "uriTemplate":
		if it.uri != nil {
			it.wrap(at, it.uri)
		}
	case "_meta":
		if it.uri != nil {
			fields(it.src, at.Start, it.meta)
		}
	}
	return true
}

func (it *item) name(at Span) {
	if it.view.Name != "" {
		it.text(at, it.view.Name)
	}
	if it.bare {
		it.upTo(at.End)
		it.dst = appendMember(append(it.dst, ','), "description", it.view.Description)
		it.bare = false
	}
}

// text puts a string in the place of whatever is there.
func (it *item) text(at Span, text string) {
	if at.opens(it.src, '"') {
		it.quote(at, text)
		return
	}
	it.upTo(at.Start)
	it.dst, it.from = AppendQuoted(it.dst, text), at.End
}

func (it *item) schema(name, at Span) bool {
	var room [32]byte
	switch string(spelled(it.src, name, room[:0])) {
	case "properties":
		if at.opens(it.src, '{') {
			it.members(at, it.view.Parameters)
		}
	case "required":
		if at.opens(it.src, '[') {
			it.elements(at, it.view.Parameters)
		}
	}
	return true
}

func (it *item) meta(name, at Span) bool {
	var room [32]byte
	switch string(spelled(it.src, name, room[:0])) {
	case "ui/resourceUri":
		it.wrap(at, it.uri)
	case "ui":
		fields(it.src, at.Start, it.link)
	}
	return true
}

func (it *item) link(name, at Span) bool {
	if equal("resourceUri", name, it.src) {
		it.wrap(at, it.uri)
	}
	return true
}

// has reports whether an object has a member of that name.
func has(raw []byte, want string) (found bool) {
	fields(raw, space(raw, 0), func(name, _ Span) bool {
		found = equal(want, name, raw)
		return !found
	})
	return found
}

// spelled returns what a member's name stands for; nil when that isn't valid Unicode. room is used for names spelled with escapes.
func spelled(b []byte, name Span, room []byte) []byte {
	text, _ := decode(b[name.Start+1:name.End-1], room)
	return text
}

// EditTools does what FilterTools does, and shows the tools that stay as edit says, without wrapping what URIs they have. A cacheScope of the list
// becomes private, since what is shown depends on the caller.
func EditTools(dst, body []byte, edit func(name string) (View, bool)) ([]byte, error) {
	return rule{edit: edit}.apply(dst, body)
}

// EditEvent does what FilterEvent does, and shows the tools that stay as edit says.
func EditEvent(dst, event []byte, edit func(name string) (View, bool)) (out []byte, changed bool, err error) {
	return rule{edit: edit}.event(dst, event)
}

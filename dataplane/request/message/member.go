package message

// At returns the raw value that stands under those names, each within the object before it; nil where there is none, or where parsers could find
// different ones. It is a subslice of data.
func At(data []byte, names ...string) []byte {
	for _, name := range names {
		var found [1]Span
		if _, ok := pick(data, space(data, 0), found[:], name); !ok || !found[0].Present() {
			return nil
		}
		data = found[0].Of(data)
	}
	return data
}

// SetMember appends an object to dst with a member that has the raw value: in the place of the one of that name, however the name is spelled,
// else behind the last one. Every other byte stays as it was, also members of that name further in. raw must be an Item's; what isn't a JSON
// object is copied unchanged. name needs no escapes, and dst must not overlap raw.
func SetMember(dst, raw []byte, name string, value []byte) []byte {
	p, set, end := patch{dst: dst, src: raw}, false, 0
	whole := fields(raw, space(raw, 0), func(key, at Span) bool {
		if end = at.End; equal(name, key, raw) && !set {
			p.upTo(key.Start)
			p.dst = append(appendName(p.dst, name), value...)
			p.from, set = at.End, true
		}
		return true
	})
	if !whole {
		return append(dst, raw...)
	}
	if set {
		return p.rest()
	}
	if end > 0 {
		p.upTo(end)
		p.dst = append(p.dst, ',')
	} else {
		p.upTo(space(raw, 0) + 1)
	}
	p.dst = append(appendName(p.dst, name), value...)
	return p.rest()
}

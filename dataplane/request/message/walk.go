package message

// fields calls f for each member of the object at i until f returns false, with the name as it is spelled, quotes included. It reports
// whether what it read was well formed.
func fields(b []byte, i int, f func(name, value Span) bool) bool {
	if i >= len(b) || b[i] != '{' {
		return false
	}
	i = space(b, i+1)
	for first := true; ; first = false {
		if i < len(b) && b[i] == '}' && first {
			return true
		}
		name, value, why := pair(b, i)
		if why != fine {
			return false
		}
		if !f(name, value) {
			return true
		}
		i = space(b, value.End)
		if i < len(b) && b[i] == '}' {
			return true
		}
		if i >= len(b) || b[i] != ',' {
			return false
		}
		i = space(b, i+1)
	}
}

// pair reads the member at i: its name, a colon and its value.
func pair(b []byte, i int) (name, value Span, why problem) {
	if i >= len(b) || b[i] != '"' {
		return name, value, syntax
	}
	name = Span{i, stringEnd(b, i)}
	if name.End < 0 {
		return name, value, syntax
	}
	if i = space(b, name.End); i >= len(b) || b[i] != ':' {
		return name, value, syntax
	}
	value.Start = space(b, i+1)
	value.End, why = skip(b, value.Start, MaxDepth)
	return name, value, why
}

// elements calls f for each element of the array at i until f returns false. It reports whether what it read was well formed.
func elements(b []byte, i int, f func(value Span) bool) bool {
	if i >= len(b) || b[i] != '[' {
		return false
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == ']' {
		return true
	}
	for {
		end, why := skip(b, i, MaxDepth)
		if why != fine {
			return false
		}
		if !f(Span{i, end}) {
			return true
		}
		i = space(b, end)
		if i < len(b) && b[i] == ']' {
			return true
		}
		if i >= len(b) || b[i] != ',' {
			return false
		}
		i = space(b, i+1)
	}
}

// list walks the array at the cursor; element gets each one's offset and consumes it.
func (c *cursor) list(element func(start int)) {
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

// pick reads the object at i and tells where the members of those names stand, in found, which is as long as names. end is the offset after
// the object. ok is false when there is no object, it isn't well formed, or parsers could read it differently: a name is there twice or isn't
// valid Unicode.
func pick(b []byte, i int, found []Span, names ...string) (end int, ok bool) {
	c := cursor{b: b, i: i, limit: MaxDepth}
	if !c.at('{') {
		return i, false
	}
	c.object(func(name []byte) {
		value := c.value()
		for n, want := range names {
			if string(name) == want {
				found[n] = value
			}
		}
	})
	return c.i, c.fail == fine
}

// pickRoot is pick for a whole message.
func pickRoot(b []byte, found []Span, names ...string) bool {
	end, ok := pick(b, space(b, 0), found, names...)
	return ok && space(b, end) == len(b)
}

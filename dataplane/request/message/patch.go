package message

import "slices"

// patch copies src to dst while it changes some of it. What is changed must come in the order in which it stands.
type patch struct {
	dst, src []byte
	from     int // what of src is copied, replaced or left out
}

// upTo copies what comes before end.
func (p *patch) upTo(end int) {
	p.dst = append(p.dst, p.src[p.from:end]...)
	p.from = end
}

// rest copies what is left and returns the result.
func (p *patch) rest() []byte {
	p.upTo(len(p.src))
	return p.dst
}

// quote puts text as a JSON string in the place of a value. A string that stands for that text already keeps its spelling.
func (p *patch) quote(at Span, text string) {
	if equal(text, at, p.src) {
		return
	}
	p.upTo(at.Start)
	p.dst = AppendQuoted(p.dst, text)
	p.from = at.End
}

// wrap puts what wrap makes of a URI in its place. What is no string, or no valid Unicode, stays.
func (p *patch) wrap(at Span, wrap func(uri string) string) {
	if raw := inner(at, p.src); raw != nil {
		if uri, ok := decode(raw, nil); ok {
			p.quote(at, wrap(string(uri)))
		}
	}
}

// members leaves only those members of an object whose names are in the list, and elements only those strings of an array. What stays keeps
// its bytes and order; where all stay, the blanks between them do so too.
func (p *patch) members(object Span, keep []string) {
	s := p.sieve(object)
	fields(p.src, object.Start, func(name, value Span) bool {
		s.take(name, Span{name.Start, value.End}, keep)
		return true
	})
	s.close()
}

func (p *patch) elements(array Span, keep []string) {
	s := p.sieve(array)
	elements(p.src, array.Start, func(value Span) bool {
		s.take(value, value, keep)
		return true
	})
	s.close()
}

// sieve copies some of what stands between two brackets.
type sieve struct {
	*patch
	brackets    Span
	mark, old   int // len(dst) and from as they were
	taken, gone bool
}

func (p *patch) sieve(brackets Span) sieve {
	s := sieve{patch: p, brackets: brackets, mark: len(p.dst), old: p.from}
	p.upTo(brackets.Start + 1)
	return s
}

func (s *sieve) take(name, whole Span, keep []string) {
	if !slices.ContainsFunc(keep, func(k string) bool { return equal(k, name, s.src) }) {
		s.gone = true
		return
	}
	if s.taken {
		s.dst = append(s.dst, ',')
	}
	s.dst, s.taken = append(s.dst, whole.Of(s.src)...), true
}

func (s *sieve) close() {
	if !s.gone {
		s.dst, s.from = s.dst[:s.mark], s.old
		return
	}
	s.from = s.brackets.End - 1
}

package session

import (
	"encoding/binary"
	"errors"
)

// Payloads are written one value behind the other: texts as uvarint length and bytes, instances as four bytes, revisions as one byte where
// they are known.

var errPayload = errors.New("payload of another shape")

// A session of one server is revision, server, upstream (texts), and its instance unless that is 0.
func appendClaims(b []byte, c *Claims) []byte {
	b = appendText(b, c.Revision)
	b = appendText(b, c.Server)
	b = appendText(b, c.Upstream)
	if c.Instance != 0 {
		b = binary.BigEndian.AppendUint32(b, c.Instance)
	}
	return b
}

func (c *Claims) read(payload []byte) bool {
	r := reader{b: payload, whole: string(payload)} // one allocation for the three
	c.Revision, c.Server, c.Upstream = r.text(), r.text(), r.text()
	if r.rest() > 0 {
		c.Instance = r.instance()
		if c.Instance == 0 {
			return false // there is one spelling only
		}
	}
	return r.done()
}

func appendText[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// revisions have a number for good: their place here, from 1. New ones go to the end.
var revisions = [...]string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}

// spelled is the number of a revision that is written out behind it.
const spelled = 255

func appendRevision(b []byte, rev string) []byte {
	if rev == "" {
		return append(b, 0)
	}
	for i := range revisions {
		if revisions[i] == rev {
			return append(b, byte(i+1))
		}
	}
	return appendText(append(b, spelled), rev)
}

// reader takes a payload apart. After the first value that isn't there, bad is set and everything is empty.
type reader struct {
	b     []byte
	whole string // b as a string, of which texts are parts
	at    int
	bad   bool
}

func (r *reader) rest() int { return len(r.b) - r.at }

// done reports whether everything was there and nothing is left.
func (r *reader) done() bool { return !r.bad && r.rest() == 0 }

// take returns where the next n bytes begin.
func (r *reader) take(n uint64) (from int, ok bool) {
	if r.bad || n > uint64(r.rest()) {
		r.bad = true
		return 0, false
	}
	from = r.at
	r.at += int(n)
	return from, true
}

func (r *reader) span() (from, to int) {
	n, size := binary.Uvarint(r.b[r.at:])
	if r.bad || size <= 0 {
		r.bad = true
		return 0, 0
	}
	r.at += size
	from, ok := r.take(n)
	if !ok {
		return 0, 0
	}
	return from, r.at
}

func (r *reader) text() string {
	from, to := r.span()
	return r.whole[from:to]
}

// bytes returns a part of the payload itself; nil when it is empty.
func (r *reader) bytes() []byte {
	if from, to := r.span(); to > from {
		return r.b[from:to:to]
	}
	return nil
}

func (r *reader) number() byte {
	if from, ok := r.take(1); ok {
		return r.b[from]
	}
	return 0
}

func (r *reader) instance() uint32 {
	if from, ok := r.take(4); ok {
		return binary.BigEndian.Uint32(r.b[from:])
	}
	return 0
}

func (r *reader) revision() string {
	switch n := r.number(); {
	case n == 0:
		return ""
	case n == spelled:
		return r.text()
	case int(n) <= len(revisions):
		return revisions[n-1]
	}
	r.bad = true
	return ""
}

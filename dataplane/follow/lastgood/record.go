package lastgood

import (
	"encoding/binary"
	"errors"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
)

// kind says what a record means. The numbers are on disk.
type kind byte

const (
	kindObjects  kind = 1 // part of the snapshot
	kindBase     kind = 2 // the snapshot is complete and has this version; the zero version: no good config yet
	kindPart     kind = 3 // part of a change
	kindDelta    kind = 4 // the last part of a change, which leads to this version: pending from here
	kindGood     kind = 5 // the candidate, which has this version, is good
	kindClean    kind = 6 // clean stop
	kindBoot     kind = 7 // started on what is pending: it is again
	kindRollback kind = 8 // what is pending was given up
	kindSuspect  kind = 9 // this version is suspect and was tried again so many times; the zero version: none is suspect
)

// record is one entry of a generation, before it is sealed. All kinds share one form; fields that a kind doesn't use are zero.
type record struct {
	kind     kind
	version  table.Version
	tries    int
	upserts  []confset.Object
	removals []confset.Key
}

// partSize is from how many bytes on a record is closed and another begun. Only an object that is larger makes a larger record.
const partSize = 1 << 20

// deltaRecords cuts a change into records.
func deltaRecords(d confset.Delta, v table.Version) []record {
	recs := cut(d.Upserts, kindPart)
	last := record{kind: kindDelta, version: v, removals: d.Removals}
	if n := len(recs); n > 0 {
		last.upserts = recs[n-1].upserts
		recs = recs[:n-1]
	}
	return append(recs, last)
}

// cut spreads objects over records of one kind.
func cut(objs []confset.Object, k kind) (recs []record) {
	size, from := 0, 0
	for i := range objs {
		size += len(objs[i].Body) + 128
		if size >= partSize || i == len(objs)-1 {
			recs = append(recs, record{kind: k, upserts: objs[from : i+1]})
			size, from = 0, i+1
		}
	}
	return recs
}

// encode appends the record's form on disk:
// kind, revision (zigzag), epoch, digest, tries, number of upserts, each kind, name, uid, hash, body, number of removals, each kind, name.
// Numbers are varints, texts and bodies have their length in front.
func (r *record) encode(b []byte) []byte {
	b = append(b, byte(r.kind))
	b = binary.AppendVarint(b, r.version.Revision)
	b = appendText(b, r.version.Epoch)
	b = append(b, r.version.Digest[:]...)
	b = binary.AppendUvarint(b, uint64(r.tries))
	b = binary.AppendUvarint(b, uint64(len(r.upserts)))
	for i := range r.upserts {
		o := &r.upserts[i]
		b = appendText(appendText(appendText(b, o.Key.Kind), o.Key.Name), o.UID)
		b = append(b, o.Hash[:]...)
		b = append(binary.AppendUvarint(b, uint64(len(o.Body))), o.Body...)
	}
	b = binary.AppendUvarint(b, uint64(len(r.removals)))
	for _, k := range r.removals {
		b = appendText(appendText(b, k.Kind), k.Name)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errForm = errors.New("a record doesn't have the form of this version")

// decode reads what encode wrote. Bodies are slices of b.
func decode(b []byte) (record, error) {
	c := cursor{rest: b}
	r := record{kind: kind(c.byte())}
	r.version.Revision = c.varint()
	r.version.Epoch = c.text()
	copy(r.version.Digest[:], c.take(uint64(len(r.version.Digest))))
	r.tries = int(c.uvarint())
	kind := "" // of the object before: mostly the same
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		kind = c.textLike(kind)
		o := confset.Object{Key: confset.Key{Kind: kind, Name: c.text()}, UID: c.text()}
		copy(o.Hash[:], c.take(uint64(len(o.Hash))))
		o.Body = c.take(c.uvarint())
		r.upserts = append(r.upserts, o)
	}
	for n := c.uvarint(); n > 0 && !c.bad; n-- {
		r.removals = append(r.removals, confset.Key{Kind: c.text(), Name: c.text()})
	}
	if c.bad || len(c.rest) > 0 || r.tries < 0 {
		return record{}, errForm
	}
	return r, nil
}

// cursor reads from rest; once something doesn't fit it is bad and yields zeros.
type cursor struct {
	rest []byte
	bad  bool
}

func (c *cursor) take(n uint64) []byte {
	if c.bad || n > uint64(len(c.rest)) {
		c.bad = true
		return nil
	}
	var b []byte
	b, c.rest = c.rest[:n:n], c.rest[n:]
	return b
}

func (c *cursor) byte() byte {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) text() string { return string(c.take(c.uvarint())) }

// textLike is text without new memory when the text equals like.
func (c *cursor) textLike(like string) string {
	if b := c.take(c.uvarint()); string(b) != like {
		return string(b)
	}
	return like
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.rest)
	return number(c, v, n)
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.rest)
	return number(c, v, n)
}

func number[T int64 | uint64](c *cursor, v T, n int) T {
	if n <= 0 {
		c.bad = true
		return 0
	}
	c.take(uint64(n))
	return v
}

package session

import (
	"encoding/binary"
	"errors"
	"time"
)

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendPayload(b []byte, c Claims) []byte {
	issued := max(c.Issued.Unix(), 0)
	b = binary.AppendUvarint(b, uint64(issued))
	b = binary.AppendUvarint(b, uint64(max(c.Expires.Unix()-issued, 0)))
	b = appendText(b, c.Revision)
	b = appendText(b, c.Server)
	return appendText(b, c.Upstream)
}

var errPayload = errors.New("payload of another shape")

// read fills c from a payload. All of it must be used up.
func (c *Claims) read(b []byte) error {
	issued, b, ok := cutNumber(b)
	life, b, ok2 := cutNumber(b)
	if !ok || !ok2 {
		return errPayload
	}
	c.Issued = time.Unix(int64(issued), 0)
	c.Expires = time.Unix(int64(issued+life), 0)
	whole, at := string(b), 0 // one allocation for the three
	for _, s := range [...]*string{&c.Revision, &c.Server, &c.Upstream} {
		n, rest, ok := cutNumber(b)
		if !ok || n > uint64(len(rest)) {
			return errPayload
		}
		at += len(b) - len(rest)
		*s, b = whole[at:at+int(n)], rest[n:]
		at += int(n)
	}
	if len(b) != 0 {
		return errPayload
	}
	return nil
}

func cutNumber(b []byte) (n uint64, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, b, false
	}
	return n, b[size:], true
}

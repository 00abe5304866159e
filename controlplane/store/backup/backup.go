// Package backup copies what a store holds into a file, and puts such a file into the same or another store.
//
// It promises that a file is what the store held at one revision, that every damage to a file is found before anything is written, that nothing
// sealed is ever opened into it, and that a store is served either as it was or wholly restored, under a new epoch. It refuses files of another
// format, a key-encryption key that doesn't open what the file holds, and stores that hold something, unless told to replace that. The
// checksum finds damage, not forgery: whoever can write to a backup can write to the store restored from it.
//
// # Format 1
//
//	hopgate store snapshot 1\n   what it is, and the format
//	{…}\n                        Header as JSON, on one line
//	records                      each: length of the key, key, length of the value, value; lengths are unsigned varints, no key is empty
//	0                            an empty key: the end
//	n                            number of records, unsigned varint
//	32 bytes                     SHA-256 of everything before; nothing follows
//
// Keys are those of package etcdstore without their prefix: first spec/, in order, so that who reads knows what the bodies are for when they
// come, then everything else in order. Left out are the epoch, and all that is leased or means nothing in another life of the store: request
// ids, fences, control planes at work, status.
package backup

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Format is the format that this version writes, and the only one it reads.
const Format = 1

const (
	title       = "hopgate store snapshot "
	headerLimit = 64 << 10
	keyLimit    = 4 << 10
	valueLimit  = 16 << 20
)

// Why a file can't be used.
var (
	// ErrFormat: it is no snapshot, one of another format, or one of something that this version doesn't know or that is incomplete.
	ErrFormat = errors.New("not a snapshot that this version can restore")
	// ErrDamaged: it isn't what was written.
	ErrDamaged = errors.New("the snapshot is damaged or cut off; take another copy")
	// ErrKey: the key-encryption key at hand isn't the one it needs.
	ErrKey = errors.New("the key-encryption key doesn't fit")
)

// Header is what a file says of itself first.
type Header struct {
	Program  string    `json:"program"`  // version of the program that wrote it
	Epoch    string    `json:"epoch"`    // of the store it was taken from
	Revision int64     `json:"revision"` // of that store
	Time     time.Time `json:"time"`     // it was taken at
	Objects  int64     `json:"objects"`
	KEKs     []string  `json:"keks"` // IDs of the key-encryption keys that sealed its objects; one, unless something is sealed with a key of old
}

func (h *Header) check() error {
	if h.Epoch == "" || h.Revision < 1 || h.Objects < 0 || h.Time.IsZero() {
		return fmt.Errorf("%w: its header lacks epoch, revision, time or objects", ErrDamaged)
	}
	for _, text := range append([]string{h.Program, h.Epoch}, h.KEKs...) { // which is shown to whoever looks into the file
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return fmt.Errorf("%w: its header holds what can't be printed", ErrDamaged)
		}
	}
	return nil
}

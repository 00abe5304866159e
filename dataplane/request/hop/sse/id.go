package sse

import (
	"crypto/rand"
	"encoding/base64"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Prefix begins the ids of sessions made here. No server's own id may: it could name an owner.
const Prefix = "hopgate-sse."

// newID makes a session id of 128 random bits that tells its owner.
func newID(owner string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return Prefix + base64.RawURLEncoding.EncodeToString([]byte(owner)) + "." + base64.RawURLEncoding.EncodeToString(b[:])
}

// OwnerOf returns the address of the data plane that holds a session; empty for one without an address. ok is false when the id wasn't made by
// any.
func OwnerOf(id string) (owner string, ok bool) {
	rest, ok := strings.CutPrefix(id, Prefix)
	if !ok {
		return "", false
	}
	name, random, ok := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(name)
	if !ok || random == "" || err != nil {
		return "", false
	}
	return string(raw), true
}

// Elsewhere reports whether a session is held by another data plane, and its address.
func (h *Hub) Elsewhere(id string) (owner string, elsewhere bool) {
	owner, ok := OwnerOf(id)
	if !ok || owner == "" {
		return "", false
	}
	return owner, owner != h.owner()
}

func (h *Hub) owner() string {
	if h.cfg.Owner == nil {
		return ""
	}
	return h.cfg.Owner()
}

// keyOf makes raw JSON, a string or a number, comparable by value: servers may spell an id in another way. Empty: it is neither.
func keyOf(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	if raw[0] == '"' {
		text, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return ""
		}
		return "s" + string(text)
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return "n" + strconv.FormatInt(n, 10)
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	switch {
	case err != nil:
		return ""
	case f == math.Trunc(f) && math.Abs(f) < 1<<53:
		return "n" + strconv.FormatInt(int64(f), 10)
	}
	return "n" + string(raw)
}

// member returns the raw value of an object's member; nil when there is none.
func member(object []byte, name string) []byte {
	if len(object) == 0 || object[0] != '{' {
		return nil
	}
	d := jsontext.NewDecoder(strings.NewReader(string(object)))
	if _, err := d.ReadToken(); err != nil {
		return nil
	}
	for d.PeekKind() == '"' {
		t, err := d.ReadToken()
		if err != nil {
			return nil
		}
		found := t.String() == name
		v, err := d.ReadValue()
		if err != nil {
			return nil
		}
		if found {
			return v.Clone()
		}
	}
	return nil
}

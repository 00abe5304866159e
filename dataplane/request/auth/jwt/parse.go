package jwt

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// deepest is how far objects and arrays may nest in headers, claims, key sets and metadata.
const deepest = 16

// value is JSON, read once.
type value struct {
	kind    jsontext.Kind // of its first byte: '{' '[' '"' '0' 't' 'f' 'n'
	text    string        // a string's content; a number as written
	list    []value
	members []member
}

type member struct {
	name  string
	value value
}

// get returns a member of an object; nil if it isn't there.
func (v *value) get(name string) *value {
	if v == nil {
		return nil
	}
	for i := range v.members {
		if v.members[i].name == name {
			return &v.members[i].value
		}
	}
	return nil
}

func (v *value) isString() bool { return v != nil && v.kind == '"' }

var (
	errNotObject = errors.New("is not a JSON object")
	errDeep      = errors.New("is nested too deeply")
	errTrailing  = errors.New("has something behind the JSON object")
)

// parse reads one JSON object (RFC 8259, I-JSON: repeated names, also differently escaped ones, and invalid UTF-8 are errors). No error
// quotes the text.
func parse(text []byte) (*value, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(text))
	if d.PeekKind() != '{' {
		return nil, errNotObject
	}
	v, err := readValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errTrailing
	}
	return &v, nil
}

func readValue(d *jsontext.Decoder, depth int) (value, error) {
	if depth > deepest {
		return value{}, errDeep
	}
	t, err := d.ReadToken()
	if err != nil {
		return value{}, unreadable(err)
	}
	v := value{kind: t.Kind()}
	switch v.kind {
	case '"', '0':
		v.text = t.String()
	case '[':
		for d.PeekKind() != ']' {
			one, err := readValue(d, depth+1)
			if err != nil {
				return value{}, err
			}
			v.list = append(v.list, one)
		}
		_, err = d.ReadToken()
	case '{':
		err = v.readMembers(d, depth)
	}
	if err != nil {
		return value{}, unreadable(err)
	}
	return v, nil
}

func (v *value) readMembers(d *jsontext.Decoder, depth int) error {
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		m := member{name: name.String()}
		if m.value, err = readValue(d, depth+1); err != nil {
			return err
		}
		v.members = append(v.members, m)
	}
	_, err := d.ReadToken()
	return err
}

// unreadable keeps the kind of a syntax error and drops its text, which may quote the input.
func unreadable(err error) error {
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("has a member twice")
	case errors.Is(err, errDeep):
		return err
	}
	return errors.New("is not valid JSON")
}

// parts are the three parts of a token in compact form (RFC 7515 section 7.1), still encoded.
type parts struct{ header, payload, signature string }

// split takes a token apart; ok is false for what is no signed token.
func split(token string) (p parts, ok bool) {
	header, rest, one := strings.Cut(token, ".")
	payload, signature, two := strings.Cut(rest, ".")
	if !one || !two || header == "" || payload == "" || strings.IndexByte(signature, '.') >= 0 {
		return parts{}, false
	}
	return parts{header, payload, signature}, true
}

// Shaped reports whether a text looks like a JWT, signed or encrypted: three or five parts, of which the first begins as an encoded JSON
// object does.
func Shaped(token string) bool {
	if !strings.HasPrefix(token, "ey") {
		return false
	}
	dots := strings.Count(token, ".")
	return dots == 2 || dots == 4
}

var errEncoding = errors.New("is not base64url without padding")

// decode reads strict base64url. Go's decoder skips line breaks; two spellings of one token must not exist.
func decode(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errEncoding
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errEncoding
	}
	return b, nil
}

// object reads an encoded part.
func object(part string) (*value, error) {
	b, err := decode(part)
	if err != nil {
		return nil, err
	}
	return parse(b)
}

package session

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// How much of a client's own words is sealed, in bytes.
const (
	maxCapabilities = 1024
	maxClient       = 512
)

// Short returns what a client says of itself, raw JSON objects, as far as it is sealed: at most 1 KiB of capabilities and 512 bytes of client
// info. What is short already is returned as it is.
func Short(capabilities, client []byte) (shortened, info []byte) {
	return shortCapabilities(capabilities), shortClient(client)
}

// shortCapabilities returns a client's capabilities, or their names alone, as many as fit, when they are long: that is what servers ask for.
func shortCapabilities(raw []byte) []byte {
	if len(raw) <= maxCapabilities {
		return raw
	}
	out := []byte{'{'}
	eachMember(raw, func(name, _ jsontext.Value) {
		if len(out)+len(name)+len(`,:{}}`) > maxCapabilities {
			return
		}
		out = append(append(comma(out), name...), `:{}`...)
	})
	return append(out, '}')
}

// shortClient returns a client's description of itself, or its name and version when it is long; nothing when they are, too.
func shortClient(raw []byte) []byte {
	if len(raw) <= maxClient {
		return raw
	}
	out := []byte{'{'}
	eachMember(raw, func(name, value jsontext.Value) {
		if s := string(name); (s == `"name"` || s == `"version"`) && value.Kind() == '"' {
			out = append(append(append(comma(out), name...), ':'), value...)
		}
	})
	if out = append(out, '}'); len(out) > maxClient || len(out) == len(`{}`) {
		return nil
	}
	return out
}

func comma(b []byte) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	return b
}

// eachMember calls f for the members of an object, until one that can't be read. Names are as they stand, in quotes.
func eachMember(raw []byte, f func(name, value jsontext.Value)) {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadValue()
		if err != nil {
			return
		}
		name = name.Clone()
		value, err := d.ReadValue()
		if err != nil {
			return
		}
		f(name, value)
	}
}

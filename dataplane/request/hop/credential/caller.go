package credential

import (
	"strings"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/redact"
)

// mostValue is how long a value of a caller, a secret and a token may be.
const mostValue = 16 << 10

// clientFields are the headers the caller set for this server with x-mcp-{name}-{header}, checked.
func clientFields(a *Ask) ([]Field, error) {
	var out []Field
	for i := range a.Server.ClientHeaders {
		c := &a.Server.ClientHeaders[i]
		name, value, err := spelled(a, c)
		if err != nil {
			return nil, err
		}
		if value == "" {
			continue
		}
		if err := settle(a, name, value); err != nil {
			return nil, err
		}
		out = append(out, Field{c.Name, value})
	}
	return out, nil
}

// spelled finds a client header under either spelling of the server's name. Which of two would count is nobody's to guess.
func spelled(a *Ask, c *table.ClientHeader) (name, value string, err error) {
	first, second := a.Header[c.Keys[0]], []string(nil)
	if c.Keys[1] != "" && c.Keys[1] != c.Keys[0] {
		second = a.Header[c.Keys[1]]
	}
	name = c.Keys[0]
	switch {
	case len(first)+len(second) == 0:
		return "", "", nil
	case len(first) > 0 && len(second) > 0:
		return "", "", twoMatches(a.Server.Name, c)
	case len(second) > 0:
		name, first = c.Keys[1], second
	}
	if len(first) > 1 {
		return "", "", twice(a.Server.Name, name)
	}
	return name, strings.TrimSpace(first[0]), nil
}

// forwardedFields are the caller's headers that the server's config passes on, checked.
func forwardedFields(a *Ask) ([]Field, error) {
	var out []Field
	for i := range a.Server.ForwardHeaders {
		name := a.Server.ForwardHeaders[i].Name
		values := a.Header[name]
		if len(values) > 1 && name == authorization {
			return nil, twice(a.Server.Name, name)
		}
		for _, v := range values {
			if err := settle(a, name, v); err != nil {
				return nil, err
			}
		}
		value := strings.TrimSpace(strings.Join(values, ", ")) // RFC 9110 section 5.3
		if len(value) > mostValue {
			return nil, unfit(a.Server.Name, name)
		}
		if value != "" {
			out = append(out, Field{name, value})
		}
	}
	return out, nil
}

// passthrough is the caller's own Authorization.
func passthrough(a *Ask) (f Field, label, shown string, err error) {
	if !a.Single {
		return f, "", "", notHere(a.Server.Name)
	}
	values := a.Header[authorization]
	if len(values) > 1 {
		return f, "", "", twice(a.Server.Name, authorization)
	}
	value := ""
	if len(values) == 1 {
		value = strings.TrimSpace(values[0])
	}
	if value == "" {
		return f, "", "", nothingToPass(a.Server.Name)
	}
	if err := settle(a, authorization, value); err != nil {
		return f, "", "", err
	}
	return Field{authorization, value}, Passthrough, redact.Mask(value), nil
}

// settle judges one value of the caller that is about to leave. name is the header as the caller sent it.
func settle(a *Ask, name, value string) error {
	if !sendable(value, mostValue) {
		return unfit(a.Server.Name, name)
	}
	if a.Holds(value) {
		return leak(a.Server.Name, name)
	}
	return nil
}

// heldBack judges what the gateway itself is about to attach.
func heldBack(a *Ask, fields []Field) error {
	for i := range fields {
		if a.Holds(fields[i].Value) {
			return heldLeak(a.Server.Name, fields[i].Name)
		}
	}
	return nil
}

// sendable reports whether a value may stand in a header line: no control character but the tab, and not too long.
func sendable(v string, most int) bool {
	if len(v) > most {
		return false
	}
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

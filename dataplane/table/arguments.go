package table

import "github.com/go-json-experiment/json/jsontext"

// Broken is a rule that the arguments of a call break. Problem goes on after the argument's name, and quotes nothing of the call.
type Broken struct{ Parameter, Problem string }

// LeftOut is the Problem of an argument that isn't among Access.Parameters.
const LeftOut = "may not be sent: the server's config leaves it out"

const shut = "can't be judged: the tool isn't open to this caller"

// Arguments returns nil when some grant of the caller opens the tool and all its rules for arguments hold, on every level; else a rule that
// is broken. arg returns the raw JSON of a top-level argument; ok is false when it isn't sent. raw nil with ok means that something was
// sent that can't be judged, which no rule allows. Which arguments the server's own config leaves out says Parameters.
func (a Access) Arguments(tool string, arg func(name string) (raw []byte, ok bool)) *Broken {
	if a.Free() {
		return nil
	}
	if !a.open || !a.s.Shape.shows(tool) {
		return &Broken{Problem: shut}
	}
	if a.all {
		return nil
	}
	var c chain
	var first *Broken
	for _, g := range a.p.Grants {
		if a.t.follow(&c, a.p, g, a.s) == closed || !a.t.usableBy(&c, a.s.Name, tool) {
			continue
		}
		b := c.arguments(a.s.Name, tool, arg)
		if b == nil {
			return nil
		}
		if first == nil {
			first = b
		}
	}
	if first == nil {
		return &Broken{Problem: shut}
	}
	return first
}

func (c *chain) arguments(server, tool string, arg func(string) ([]byte, bool)) *Broken {
	for i := range c.n {
		for _, rules := range c.levels[i].grant.rules(server) {
			for j := range rules {
				if b := rules[j].arguments(tool, arg); b != nil {
					return b
				}
			}
		}
	}
	return nil
}

func (r *ToolRule) arguments(tool string, arg func(string) ([]byte, bool)) *Broken {
	for i := range r.Parameters {
		p := &r.Parameters[i]
		if !p.Tool.Match(tool) {
			continue
		}
		if problem := p.problem(arg(p.Parameter)); problem != "" {
			return &Broken{Parameter: p.Parameter, Problem: problem}
		}
	}
	return nil
}

func (r *ParameterRule) problem(raw []byte, sent bool) string {
	switch {
	case !sent && r.Required:
		return "must be sent"
	case !sent:
		return ""
	case len(r.Values) == 0:
		return "may not be sent"
	case !r.holds(raw):
		return "doesn't have one of the values that a grant allows"
	}
	return ""
}

// holds reports whether a JSON value is one of those allowed. Strings are compared as what they mean, numbers and booleans as they are
// written. null, lists and objects are never allowed: no pattern says what they hold.
func (r *ParameterRule) holds(raw []byte) bool {
	if len(raw) == 0 {
		return false
	}
	var room [128]byte
	switch raw[0] {
	case '"':
		text, err := jsontext.AppendUnquote(room[:0], raw)
		return err == nil && r.matches(text, true)
	case '{', '[', 'n':
		return false
	}
	return r.matches(raw, false)
}

// matches compares without a copy; patterns with a * only match strings.
func (r *ParameterRule) matches(text []byte, str bool) bool {
	for _, v := range r.Values {
		switch {
		case !v.Prefix && string(text) == v.Text:
			return true
		case v.Prefix && str && len(text) >= len(v.Text) && string(text[:len(v.Text)]) == v.Text:
			return true
		}
	}
	return false
}

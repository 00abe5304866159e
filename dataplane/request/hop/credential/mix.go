package credential

import "github.com/hopgate/hopgate/proto/redact"

const authorization = "Authorization"

// mix puts fields of several origins together. What comes first wins: the credential, or what the caller sent in its place, then the
// caller's other headers for this server, the server's own, and those passed on.
type mix struct {
	fields []Field
	slot   string  // header of the server's auth type; empty: it has none
	sent   []Field // the caller's, for this server
	passed []Field // the caller's, passed on, as far as they are in fields
	label  string  // of the credential; empty: the slot is the caller's, or there is none
	shown  string
}

// add appends the fields whose names aren't there.
func (m *mix) add(more []Field) {
	for _, f := range more {
		if find(m.fields, f.Name) == nil {
			m.fields = append(m.fields, f)
		}
	}
}

func (m *mix) pass(more []Field) {
	n := len(m.fields)
	m.add(more)
	m.passed = m.fields[n:]
}

// bound says in which way the credential came. The auth type's own header decides; without one, each way that was used counts.
func (m *mix) bound(heldHeader bool) Bound {
	b := Bound{Fields: m.fields, Resolution: m.label, Shown: m.shown}
	if b.Resolution != "" {
		return b
	}
	if f := find(m.sent, m.slot); f != nil {
		b.Resolution, b.Shown = PerRequest, redact.Mask(f.Value)
		return b
	}
	b.Resolution, b.Shown = None, m.shownOf(heldHeader)
	ways := 0
	for _, w := range [...]struct {
		used  bool
		label string
	}{{len(m.sent) > 0, PerRequest}, {heldHeader, Static}, {len(m.passed) > 0, Extra}} {
		if w.used {
			b.Resolution = w.label
			ways++
		}
	}
	if ways > 1 {
		b.Resolution = Multiple
	}
	return b
}

// shownOf shows what of the caller's may be a credential: Authorization, else what it sent for this server.
func (m *mix) shownOf(heldHeader bool) string {
	for _, from := range [...][]Field{m.sent, m.passed} {
		if f := find(from, authorization); f != nil {
			return redact.Mask(f.Value)
		}
	}
	switch {
	case len(m.sent) > 0:
		return redact.Mask(m.sent[0].Value)
	case heldHeader:
		return shownHeld
	}
	return shownNone
}

func find(fields []Field, name string) *Field {
	for i := range fields {
		if fields[i].Name == name {
			return &fields[i]
		}
	}
	return nil
}

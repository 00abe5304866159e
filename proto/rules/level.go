package rules

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MostLevel is the highest feature level that any field needs. A data plane of this version understands it.
const MostLevel = 4

// overlayLevel is the level from which data planes know overlays.
const overlayLevel = 3

// minimum says which feature level a field needs.
type minimum struct {
	path  string   // "kind", or "kind.field.field": what stands below a field needs its level, too
	level int32    // 2 and up
	known []string // words of a string field that the versions before understand: they need level 1
}

// minimums is where every kind and field stands that the first version didn't have, those that only open something as well: who can't read a
// part of an object doesn't get it, and nobody has to judge which parts matter. A restriction that is missing here would be served without
// effect by data planes that don't know it.
var minimums = []minimum{
	// Who may see a server, and how much of it: without these it would be open to all with a grant.
	{path: "server.spec.reachable_from", level: 2},
	{path: "server.spec.allowed_cidrs", level: 2},
	{path: "server.spec.limits", level: 2},
	{path: "server.spec.tool_limits", level: 2},
	// Grants by access group: teams bound by them are level 2 as well, so that both come to a data plane together.
	{path: "server.spec.access_groups", level: 2},
	// What the upstream learns of the caller: without it calls would go there with other rights than meant.
	{path: "server.spec.headers", level: 2},
	{path: "server.spec.client_headers", level: 2},
	{path: "server.spec.forward_headers", level: 2},
	// Credentials: without them calls would go upstream as nobody. The first version knew none alone.
	{path: "server.spec.auth.type", level: 2, known: []string{"none"}},
	{path: "server.spec.auth.value", level: 2},
	{path: "server.spec.auth.header", level: 2},
	{path: "server.spec.auth.username", level: 2},
	{path: "server.spec.auth.flow", level: 2},
	{path: "server.spec.auth.token_url", level: 2},
	{path: "server.spec.auth.client_id", level: 2},
	{path: "server.spec.auth.client_auth", level: 2},
	{path: "server.spec.auth.scopes", level: 2},
	{path: "server.spec.auth.resource", level: 2},
	{path: "server.spec.auth.audience", level: 2},
	{path: "server.spec.auth.token_tls", level: 2},
	{path: "server.spec.auth.omit_resource", level: 2},

	// What a key may not do, and the ceiling over it: without these it would open more.
	{path: "apikey.spec.tools", level: 2},
	{path: "apikey.spec.team", level: 2},
	{path: "apikey.spec.limits", level: 2},
	// What a key opens besides servers: without these it would be half a key, and no rule of it could be told from a fault.
	{path: "apikey.spec.groups", level: 2},
	{path: "apikey.spec.toolsets", level: 2},
	{path: "apikey.spec.may_assert_end_user", level: 2},
	// Other credentials of the same caller.
	{path: "apikey.spec.previous_sha256", level: 2},
	{path: "apikey.spec.previous_expires", level: 2},
	{path: "apikey.spec.certificate_name", level: 2},

	// Kinds that the first version didn't have. Everything that refers to one needs the same level.
	{path: "team", level: 2},
	{path: "toolset", level: 2},
	{path: "ingress", level: 2},
	{path: "identityprovider", level: 2},
	// A value goes to nobody who can't use it.
	{path: "secret", level: 2},
	// Who can't lay it over its target would serve that without it.
	{path: "overlay", level: overlayLevel},

	// What of a server is shown, and how it is treated: without these hidden tools would be open, and broken servers called on and on. Several
	// endpoints for a region need no level: those who know one take the first.
	{path: "server.spec.transport", level: 4, known: []string{"streamable_http"}},
	{path: "server.spec.tools", level: 4},
	{path: "server.spec.resilience", level: 4},
	{path: "server.spec.sessions", level: 4},
	{path: "server.spec.list_ttl", level: 4},
	{path: "server.spec.timeouts.list", level: 4},
	{path: "settings.spec.timeouts.list", level: 4},
	{path: "settings.spec.limits.page", level: 4},
	// Under another name than the server's own, clients would ask for it in vain.
	{path: "toolset.spec.tools.name", level: 4},
	{path: "toolset.spec.tools.description", level: 4},
}

// gauge is what one message, or what stands below one field, needs.
type gauge struct {
	level  int32    // of the field itself; 0: only of what is in it
	known  []string // words that need no level
	most   int32    // the highest level in here
	fields []*gauge // by field number; nil: level 1
}

var gauges = newGauges(patched(minimums))

// patched adds what overlays need that set a field: what the field needs, where that is more than overlays need anyway.
func patched(table []minimum) []minimum {
	for _, m := range table {
		path := strings.SplitN(m.path, ".spec.", 2)
		if slices.Contains(overlaid, path[0]) && len(path) == 2 && m.level > overlayLevel {
			table = append(table, minimum{"overlay.spec." + path[0] + "." + path[1], m.level, m.known})
		}
	}
	return table
}

// Level returns the least feature level a data plane must have to honour everything that is set in the body of an object, from 1 to
// MostLevel. It is the same for the same bytes, and doesn't decode them: it looks at the numbers of their fields.
//
// Fields and kinds of a later version raise no level, since nothing here tells what they need: they are sent as they are stored, and the
// data plane judges. It rejects keys, teams and all else that admits or grants, and warns of the rest; it never ignores one in silence. A
// body that can't be read has the level of what could be: the data plane rejects it.
func Level(kind string, body []byte) int32 {
	g := gauges[kind]
	if g == nil {
		return 1
	}
	return max(g.of(body), 1)
}

// of returns the level of a value: a message, when the gauge has fields.
func (g *gauge) of(value []byte) int32 {
	level := g.level
	if level == g.most {
		return level
	}
	for len(value) > 0 && level < g.most {
		number, typ, n := protowire.ConsumeTag(value)
		if n < 0 {
			return level
		}
		value = value[n:]
		if n = protowire.ConsumeFieldValue(number, typ, value); n < 0 {
			return level
		}
		if f := g.field(number); f != nil {
			level = max(level, f.read(typ, value[:n]))
		}
		value = value[n:]
	}
	return level
}

func (g *gauge) field(number protowire.Number) *gauge {
	if int(number) < len(g.fields) {
		return g.fields[number]
	}
	return nil
}

// read returns the level of one occurrence of a field. One of an odd type counts as set: it is for the data plane to reject.
func (g *gauge) read(typ protowire.Type, value []byte) int32 {
	if typ != protowire.BytesType {
		return g.level
	}
	inner, _ := protowire.ConsumeBytes(value)
	if g.fields != nil {
		return g.of(inner)
	}
	if len(g.known) > 0 && (len(inner) == 0 || slices.Contains(g.known, string(inner))) {
		return 0
	}
	return g.level
}

// newGauges panics when a path names no kind or field: the table is part of the program.
func newGauges(table []minimum) map[string]*gauge {
	out := map[string]*gauge{}
	for _, m := range table {
		path := strings.Split(m.path, ".")
		k := kindOf(path[0])
		if k == nil {
			panic(fmt.Sprintf("rules: level of %s: no such kind", m.path))
		}
		if out[k.name] == nil {
			out[k.name] = &gauge{}
		}
		at, md := out[k.name], k.make().ProtoReflect().Descriptor()
		at.most = max(at.most, m.level)
		for _, name := range path[1:] {
			fd := fieldNamed(md, name)
			if fd == nil {
				panic(fmt.Sprintf("rules: level of %s: no field %s", m.path, name))
			}
			at, md = at.below(int(fd.Number())), fd.Message()
			at.most = max(at.most, m.level)
		}
		at.level, at.known = m.level, m.known
	}
	return out
}

func fieldNamed(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if md == nil {
		return nil
	}
	return md.Fields().ByName(protoreflect.Name(name))
}

// below returns the gauge of a field, made when there is none.
func (g *gauge) below(number int) *gauge {
	if short := number + 1 - len(g.fields); short > 0 {
		g.fields = append(g.fields, make([]*gauge, short)...)
	}
	if g.fields[number] == nil {
		g.fields[number] = &gauge{}
	}
	return g.fields[number]
}

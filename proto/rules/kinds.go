package rules

import (
	"fmt"
	"strings"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// kind is what the generic functions know about one kind of object.
type kind struct {
	name, title, plural string
	make                func() proto.Message
	check               func(proto.Message) (Violations, bool)
}

func define[M proto.Message](name, title, plural string, make func() M, check func(M) Violations) kind {
	return kind{name, title, plural, func() proto.Message { return make() }, func(m proto.Message) (Violations, bool) {
		typed, ok := m.(M)
		if !ok {
			return nil, false
		}
		return check(typed), true
	}}
}

var kinds = []kind{
	define("server", "Server", "servers", func() *configv1.Server { return &configv1.Server{} }, Server),
	define("apikey", "ApiKey", "apikeys", func() *configv1.ApiKey { return &configv1.ApiKey{} }, ApiKey),
	define("team", "Team", "teams", func() *configv1.Team { return &configv1.Team{} }, Team),
	define("toolset", "Toolset", "toolsets", func() *configv1.Toolset { return &configv1.Toolset{} }, Toolset),
	define("ingress", "Ingress", "ingresses", func() *configv1.Ingress { return &configv1.Ingress{} }, Ingress),
	define("identityprovider", "IdentityProvider", "identityproviders", func() *configv1.IdentityProvider { return &configv1.IdentityProvider{} }, IdentityProvider),
	define("secret", "Secret", "secrets", func() *configv1.Secret { return &configv1.Secret{} }, Secret),
	define("settings", "Settings", "settings", func() *configv1.Settings { return &configv1.Settings{} }, Settings),
	define("overlay", "Overlay", "overlays", func() *configv1.Overlay { return &configv1.Overlay{} }, Overlay),
}

func kindOf(name string) *kind {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

// Kinds returns the kinds that operators write, in lower case.
func Kinds() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	return names
}

// Canonical returns the lower-case name of a kind for any usual spelling: Server, server, servers, ApiKey, api_key, apikeys, identity_provider.
func Canonical(spelling string) (string, bool) {
	folded := strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(spelling))
	for _, k := range kinds {
		if folded == k.name || folded == k.plural {
			return k.name, true
		}
	}
	return "", false
}

// Title returns the kind as config files spell it, for example ApiKey; the argument itself when it is not known.
func Title(kind string) string {
	if k := kindOf(kind); k != nil {
		return k.title
	}
	return kind
}

// New returns an empty message of a kind in its lower-case spelling, or nil for an unknown one.
func New(kind string) proto.Message {
	if k := kindOf(kind); k != nil {
		return k.make()
	}
	return nil
}

// Check returns what is wrong with m as an object of a kind.
func Check(kind string, m proto.Message) Violations {
	k := kindOf(kind)
	if k == nil {
		return Violations{unknownKind(kind)}
	}
	vs, ok := k.check(m)
	if !ok {
		return Violations{{Field: "kind", Problem: "the object is not of kind " + k.title}}
	}
	return vs
}

func unknownKind(spelling string) Violation {
	titles := make([]string, len(kinds))
	for i, k := range kinds {
		titles[i] = k.title
	}
	return Violation{Field: "kind", Problem: quote(spelling) + " is not known", Fix: suggest(spelling, titles)}
}

// Body returns the bytes an object is stored, hashed and sent as: name, labels, spec and whatever a newer version added, without meta and
// status. m stays as it is. The same message gives the same bytes.
func Body(m proto.Message) ([]byte, error) {
	c := proto.Clone(m)
	r := c.ProtoReflect()
	for _, name := range []protoreflect.Name{"meta", "status"} {
		if f := r.Descriptor().Fields().ByName(name); f != nil {
			r.Clear(f)
		}
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("marshal %s: %w", r.Descriptor().Name(), err)
	}
	return body, nil
}

// Kept says whether objects of a kind stay in the control plane: they are stored, watched and recorded like others, and never sent to a data
// plane. Names are in lower case.
func Kept(kind string) bool {
	switch kind {
	case "rollout", "node", "jointoken", "authority":
		return true
	}
	return false
}

// Package links says what binds an object to others: which objects it refers to by name, and what it claims for itself alone.
//
// It promises the same answer wherever it is asked, so that admission and the index behind it never disagree, and the path of the field
// for each answer. It refuses to judge: a reference to nothing and a claim held twice are reported like any other, and what can't be decoded
// has no links. Servers named in grants and in toolsets are no references: see package admit.
package links

import (
	"encoding/hex"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// Kinds that references lead to. A group is no object: it is there as long as a server belongs to it.
const (
	KindSecret  = "secret"
	KindTeam    = "team"
	KindToolset = "toolset"
	KindGroup   = "group"
)

// Space is what a claimed value is.
type Space uint8

// Spaces of claims.
const (
	Hash        Space = iota + 1 // SHA-256 of an API key or of the one before it, 32 bytes
	Certificate                  // name in a client certificate
	Issuer                       // iss claim
	Listener                     // region and listener of an ingress: see Region
)

// Claim is something that one object alone may have.
type Claim struct {
	Space Space
	Value string
}

// Region returns the region of a Listener claim; empty: those that no ingress names.
func (c Claim) Region() string {
	region, _, _ := strings.Cut(c.Value, "\x00")
	return region
}

// place is where something stands in an object: a path with up to two indexes.
type place struct {
	form string
	at   [2]int
}

// Field returns the path, for example spec.grants[0].team.
func (p place) Field() string {
	switch strings.Count(p.form, "%d") {
	case 0:
		return p.form
	case 1:
		return fmt.Sprintf(p.form, p.at[0])
	}
	return fmt.Sprintf(p.form, p.at[0], p.at[1])
}

// Ref is one reference.
type Ref struct {
	place
	To confset.Key
}

// Held is one claim.
type Held struct {
	place
	Claim Claim
}

// Links of one object, in the order of its fields.
type Links struct {
	Refs   []Ref
	Claims []Held
}

// Read returns the links of an object as it is stored.
func Read(o confset.Object) Links {
	m := rules.New(o.Key.Kind)
	if m == nil || o.Key.Kind == KindSecret || o.Key.Kind == KindToolset || proto.Unmarshal(o.Body, m) != nil {
		return Links{} // secrets and toolsets bind nothing
	}
	return Of(m)
}

// Of returns the links of a message.
func Of(m proto.Message) (l Links) {
	switch m := m.(type) {
	case *configv1.Server:
		l.server("spec", m.GetSpec())
	case *configv1.ApiKey:
		l.apiKey(m.GetSpec())
	case *configv1.Team:
		l.toolsets("spec.toolsets[%d]", -1, m.GetSpec().GetToolsets())
	case *configv1.IdentityProvider:
		l.provider(m.GetSpec())
	case *configv1.Ingress:
		l.ingress(m.GetSpec())
	case *configv1.Overlay:
		l.overlay(m.GetSpec())
	}
	return l
}

// ref adds a reference; an empty name is none.
func (l *Links) ref(kind, name, form string, at ...int) {
	if name != "" {
		l.Refs = append(l.Refs, Ref{placed(form, at), confset.Key{Kind: kind, Name: name}})
	}
}

// claim adds a claim; an empty value is none.
func (l *Links) claim(space Space, value, form string, at ...int) {
	if value != "" {
		l.Claims = append(l.Claims, Held{placed(form, at), Claim{space, value}})
	}
}

func placed(form string, at []int) place {
	p := place{form: form}
	copy(p.at[:], at)
	return p
}

func (l *Links) toolsets(form string, outer int, names []string) {
	for i, name := range names {
		if outer < 0 {
			l.ref(KindToolset, name, form, i)
		} else {
			l.ref(KindToolset, name, form, outer, i)
		}
	}
}

// server adds the links of a server's spec, which stands at a path.
func (l *Links) server(at string, s *configv1.ServerSpec) {
	l.ref(KindSecret, s.GetAuth().GetValue().GetSecret(), at+".auth.value.secret")
	for i, name := range s.GetAccessGroups() {
		l.ref(KindGroup, name, at+".access_groups[%d]", i)
	}
	for i, h := range s.GetHeaders() {
		l.ref(KindSecret, h.GetValue().GetSecret(), at+".headers[%d].value.secret", i)
	}
}

// overlay refers to what it changes, and to what its patch refers to.
func (l *Links) overlay(s *configv1.OverlaySpec) {
	l.ref(s.GetKind(), s.GetTarget(), "spec.target")
	l.server("spec.server", s.GetServer())
}

func (l *Links) apiKey(s *configv1.ApiKeySpec) {
	l.claim(Hash, sum(s.GetSha256()), "spec.sha256")
	l.toolsets("spec.toolsets[%d]", -1, s.GetToolsets())
	l.ref(KindTeam, s.GetTeam(), "spec.team")
	l.claim(Hash, sum(s.GetPreviousSha256()), "spec.previous_sha256")
	l.claim(Certificate, s.GetCertificateName(), "spec.certificate_name")
}

func (l *Links) provider(s *configv1.IdentityProviderSpec) {
	l.claim(Issuer, s.GetIssuer(), "spec.issuer")
	for i, g := range s.GetGrants() {
		l.toolsets("spec.grants[%d].toolsets[%d]", i, g.GetToolsets())
		l.ref(KindTeam, g.GetTeam(), "spec.grants[%d].team", i)
	}
}

// mainListener is the one an ingress without a listener is for.
const mainListener = "main"

func (l *Links) ingress(s *configv1.IngressSpec) {
	listener := s.GetListener()
	if listener == "" {
		listener = mainListener
	}
	for i, region := range s.GetRegions() {
		l.claim(Listener, region+"\x00"+listener, "spec.regions[%d]", i)
	}
	if len(s.GetRegions()) == 0 {
		l.claim(Listener, "\x00"+listener, "spec.regions")
	}
}

// sum returns the 32 bytes of a hash in hexadecimal digits; nothing when it is none.
func sum(digits string) string {
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != 32 {
		return ""
	}
	return string(b)
}

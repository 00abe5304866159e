package table_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func object(tb testing.TB, kind, name string, m proto.Message) confset.Object {
	tb.Helper()
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return confset.NewObject(confset.Key{Kind: kind, Name: name}, "uid-"+name, body)
}

func server(tb testing.TB, name string, spec *configv1.ServerSpec) confset.Object {
	return object(tb, "server", name, &configv1.Server{Name: name, Spec: spec})
}

func at(url string, regions ...string) *configv1.Endpoint {
	return &configv1.Endpoint{Url: url, Regions: regions}
}

func spec(endpoints ...*configv1.Endpoint) *configv1.ServerSpec {
	return &configv1.ServerSpec{Endpoints: endpoints}
}

func apikey(tb testing.TB, name, secret string, change ...func(*configv1.ApiKeySpec)) confset.Object {
	sum := sha256.Sum256([]byte(secret))
	s := &configv1.ApiKeySpec{Sha256: hex.EncodeToString(sum[:]), Servers: []string{"a"}}
	for _, c := range change {
		c(s)
	}
	return object(tb, "apikey", name, &configv1.ApiKey{Name: name, Spec: s})
}

func settings(tb testing.TB, s *configv1.SettingsSpec) confset.Object {
	return object(tb, "settings", "default", &configv1.Settings{Name: "default", Spec: s})
}

// apply applies objects and returns the table and what stands against them, one line each.
func apply(t *table.Table, objs ...confset.Object) (*table.Table, []string) {
	next, outs := t.Apply(confset.Delta{Upserts: objs}, t.Version().Revision+1, table.Version{})
	return next, lines(outs)
}

func remove(t *table.Table, kind, name string) (*table.Table, []string) {
	next, outs := t.Apply(confset.Delta{Removals: []confset.Key{{Kind: kind, Name: name}}}, t.Version().Revision+1, table.Version{})
	return next, lines(outs)
}

func lines(outs []table.Outcome) (s []string) {
	for _, o := range outs {
		verb := "warned"
		if o.Rejected {
			verb = "rejected"
		}
		s = append(s, fmt.Sprintf("%s %s %s: %s", o.Key, verb, o.Field, o.Text))
	}
	return s
}

func empty() *table.Table { return table.New(table.Config{Region: "eu"}) }

func who(t *table.Table, secret string) string {
	if p := t.Principal(sha256.Sum256([]byte(secret))); p != nil {
		return p.Name
	}
	return ""
}

// may reports whether a caller may use anything of a server of that name.
func may(t *table.Table, p *table.Principal, server string) bool {
	return t.Access(p, &table.Server{Name: server}).Open()
}

func team(tb testing.TB, name string, s *configv1.TeamSpec) confset.Object {
	return object(tb, "team", name, &configv1.Team{Name: name, Spec: s})
}

// toolset takes "server tool" pairs.
func toolset(tb testing.TB, name string, tools ...string) confset.Object {
	s := &configv1.ToolsetSpec{}
	for _, t := range tools {
		server, tool, _ := strings.Cut(t, " ")
		s.Tools = append(s.Tools, &configv1.ToolsetTool{Server: server, Tool: tool})
	}
	return object(tb, "toolset", name, &configv1.Toolset{Name: name, Spec: s})
}

func ingress(tb testing.TB, name string, s *configv1.IngressSpec) confset.Object {
	return object(tb, "ingress", name, &configv1.Ingress{Name: name, Spec: s})
}

func provider(tb testing.TB, name string, s *configv1.IdentityProviderSpec) confset.Object {
	return object(tb, "identityprovider", name, &configv1.IdentityProvider{Name: name, Spec: s})
}

// holder returns who holds a key.
func holder(tb testing.TB, t *table.Table, secret string) *table.Principal {
	tb.Helper()
	p := t.Principal(sha256.Sum256([]byte(secret)))
	if p == nil {
		tb.Fatalf("nobody holds %s", secret)
	}
	return p
}

// access returns what the holder of a key may use of a server.
func access(tb testing.TB, t *table.Table, secret, server string) table.Access {
	tb.Helper()
	s, _ := t.Server(server)
	return t.Access(holder(tb, t, secret), s)
}

package table_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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

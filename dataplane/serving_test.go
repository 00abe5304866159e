package dataplane

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/request/hop/credential"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// with is a table with a server at a URL that gets a header.
func with(t *testing.T, before *table.Table, url string) (*table.Table, *table.Server) {
	t.Helper()
	body, err := rules.Body(&configv1.Server{Name: "up", Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: url}},
		Headers: []*configv1.Header{{Name: "X-Tenant", Text: "one"}}}})
	if err != nil {
		t.Fatal(err)
	}
	now, _ := before.Apply(confset.Delta{Upserts: []confset.Object{{Key: confset.Key{Kind: "server", Name: "up"}, UID: "up", Hash: confset.HashBody(body), Body: body}}},
		1, table.Version{Revision: 1})
	s, _ := now.Server("up")
	return now, s
}

// Red when attach doesn't look whether the server is the one of the config in force: what is secret now would go to where it was before.
func TestProbesOfAReplacedServerGetNoCredential(t *testing.T) {
	outward, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer outward.Close()
	p := &Plane{holder: new(table.Holder)}
	if p.resolver, err = credential.New(credential.Config{Egress: outward}); err != nil {
		t.Fatal(err)
	}
	before, old := with(t, table.New(table.Config{}), "http://old.example/mcp")
	after, now := with(t, before, "http://new.example/mcp")
	p.holder.Store(after)
	if fields, err := p.attach(t.Context(), now); err != nil || len(fields) != 1 {
		t.Errorf("the server in force: %v, %v", fields, err)
	}
	if fields, err := p.attach(t.Context(), old); err == nil || errors.Is(err, errors.ErrUnsupported) || len(fields) > 0 {
		t.Errorf("the replaced one: %v, %v", fields, err)
	}
}

package auth_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/dataplane/egress"
	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt"
	"github.com/hopgate/hopgate/dataplane/request/auth/jwt/jwttest"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func object(t testing.TB, kind, name string, m proto.Message) confset.Object {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return confset.NewObject(confset.Key{Kind: kind, Name: name}, "uid-"+name, body)
}

// tableOf is a table with these objects, none of them rejected.
func tableOf(t testing.TB, objects ...confset.Object) *table.Table {
	t.Helper()
	next, outcomes := table.New(table.Config{Region: "eu"}).Apply(confset.Delta{Upserts: objects}, 1, table.Version{})
	for _, o := range outcomes {
		if o.Rejected {
			t.Fatalf("%v: %s %s", o.Key, o.Field, o.Text)
		}
	}
	return next
}

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func apiKey(t testing.TB, name, key string, change ...func(*configv1.ApiKeySpec)) confset.Object {
	t.Helper()
	spec := &configv1.ApiKeySpec{Sha256: hashOf(key), Servers: []string{"*"}}
	for _, f := range change {
		f(spec)
	}
	return object(t, "apikey", name, &configv1.ApiKey{Name: name, Spec: spec})
}

// world is a gate with two issuers: corp is believed, other isn't configured.
type world struct {
	gate        *auth.Gate
	table       *table.Table
	corp, other *jwttest.Issuer
	key, forged *jwttest.Key
	claims      func(more map[string]any) map[string]any
}

func newWorld(t testing.TB, objects ...confset.Object) *world {
	t.Helper()
	w := &world{key: jwttest.NewKey(t, "k1", "RS256"), forged: jwttest.NewKey(t, "k1", "ES256")}
	w.corp, w.other = jwttest.New(t, w.key), jwttest.New(t, w.key)
	w.table = tableOf(t, append(objects, apiKey(t, "alice", alice), apiKey(t, "bob", bob), w.provider(t))...)
	client, err := egress.New(egress.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	tokens, err := jwt.New(jwt.Config{Egress: client})
	if err != nil {
		t.Fatal(err)
	}
	w.gate = &auth.Gate{Tokens: tokens}
	w.claims = func(more map[string]any) map[string]any { return w.corp.Claims(time.Now(), more) }
	return w
}

func (w *world) provider(t testing.TB) confset.Object {
	return object(t, "identityprovider", "corp", &configv1.IdentityProvider{Name: "corp", Spec: &configv1.IdentityProviderSpec{
		Issuer: w.corp.URL, Audiences: []string{jwttest.Audience}, Tls: &configv1.UpstreamTLS{CaPem: w.corp.RootsPEM()},
		Grants: []*configv1.ClaimGrant{{Servers: []string{"github"}}, {Claim: "scope", Value: "admin", Servers: []string{"*"}, Roles: []string{"debug"}}},
	}})
}

// token is a good one of corp.
func (w *world) token(t testing.TB, more map[string]any) string {
	return w.key.Token(t, w.claims(more))
}

package api_test

import (
	"context"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// ring is an index of API keys, and claims that may lag behind it.
type ring struct {
	heads  map[string]*configv1.ApiKeySpec
	claims map[string]string // name by key
}

func (r *ring) Get(_, name string) (h store.Head, ok bool) {
	spec, ok := r.heads[name]
	if !ok {
		return h, false
	}
	body, err := rules.Body(&configv1.ApiKey{Name: name, Spec: spec})
	h.Object = confset.NewObject(confset.Key{Kind: "apikey", Name: name}, "uid-"+name, body)
	return h, err == nil
}
func (*ring) List(string, string, int) []store.Head     { return nil }
func (*ring) Revision() int64                           { return 1 }
func (*ring) WaitRevision(context.Context, int64) error { return nil }

func (r *ring) holder(c links.Claim) (string, bool) {
	for key, name := range r.claims {
		if h := sha256.Sum256([]byte(key)); c == (links.Claim{Space: links.Hash, Value: string(h[:])}) {
			return name, true
		}
	}
	return "", false
}

func find(r *ring, key string) (api.Key, bool) {
	return api.NewKeys(r.holder, r).Find(sha256.Sum256([]byte(key)))
}

func TestClaimsThatLagReviveNoKey(t *testing.T) {
	r := &ring{heads: map[string]*configv1.ApiKeySpec{"a": {Sha256: sum("one"), Roles: []string{"viewer"}}}, claims: map[string]string{"one": "a", "gone": "b"}}
	if k, ok := find(r, "one"); !ok || k.Name != "a" || k.Roles[0] != "viewer" {
		t.Errorf("%v %v", k, ok)
	}
	r.heads["a"].Sha256 = sum("two")
	for _, key := range []string{"one", "gone", "never there"} {
		if k, ok := find(r, key); ok {
			t.Errorf("%s: %v", key, k)
		}
	}
}

func TestAReplacedKeyAdmitsUntilTheEarlierEnd(t *testing.T) {
	const soon, late = "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"
	for name, c := range map[string]struct {
		expires, previous string
		want              string // empty: refused
	}{
		"its own end":                {late, soon, soon},
		"the end of the present key": {soon, late, soon},
		"the present key has none":   {"", late, late},
		"it has none":                {late, "", ""},
		"its end can't be read":      {late, "tomorrow", ""},
	} {
		r := &ring{heads: map[string]*configv1.ApiKeySpec{"a": {Sha256: sum("new"), PreviousSha256: sum("old"), Expires: c.expires, PreviousExpires: c.previous}},
			claims: map[string]string{"new": "a", "old": "a"}}
		k, ok := find(r, "old")
		if ok != (c.want != "") || ok && k.Expires.Format(time.RFC3339) != c.want {
			t.Errorf("%s: found %v, until %s", name, ok, k.Expires)
		}
		if k, ok := find(r, "new"); !ok || c.expires == "" != k.Expires.IsZero() {
			t.Errorf("%s: the present key is found %v, until %s", name, ok, k.Expires)
		}
	}
}

func TestAReplacedKeyIsACallerOfTheAdminAPI(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	p := start(t, memstore.New(), withClock(func() time.Time { return now }))
	p.must(200, "PUT", "/v1/apikeys/ops", `{"spec":{"sha256":"`+sum(adminKey)+`","roles":["admin"],"previous_sha256":"`+sum(viewerKey)+`","previous_expires":"2027-01-01T00:00:01Z"}}`)
	if got := p.as(viewerKey).must(200, "GET", "/v1/info", ""); str(got, "caller") != "ops" || str(got, "role") != "admin" {
		t.Errorf("%v", got)
	}
	now = now.Add(time.Second)
	p.as(viewerKey).must(401, "GET", "/v1/info", "")
	p.as(adminKey).must(200, "GET", "/v1/info", "")
	now = now.Add(-time.Second)
	got := violations(p.must(400, "PUT", "/v1/apikeys/other", `{"spec":{"sha256":"`+sum(viewerKey)+`","servers":["*"]}}`))
	if len(got) != 1 || got[0] != `spec.sha256: is the hash of the API key "ops" already; make a new key` {
		t.Errorf("%q", got)
	}
}

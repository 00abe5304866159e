package api_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/authority"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

// founded is a store with an authority.
func founded(t *testing.T) *memstore.Store {
	t.Helper()
	kek, err := secret.LoadKEK(filepath.Join(t.TempDir(), "kek"), true)
	if err != nil {
		t.Fatal(err)
	}
	s := memstore.New()
	if err := authority.Ensure(t.Context(), s, kek); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAJoinTokenIsToldOnceAndStoredAsAHash(t *testing.T) {
	s := founded(t)
	p := start(t, s)
	withKeys(p)
	got := p.must(200, "POST", "/v1/jointokens", `{"region":"eu","group":"blue","ttl":"1h","uses":3,"message":"new rack"}`)
	token, err := jointoken.Parse(str(got, "token"))
	if err != nil {
		t.Fatal(err)
	}
	if str(got, "info", "id") != token.ID || str(got, "info", "sha256") != "" || at(got, "info", "uses") != 3.0 {
		t.Errorf("info %v", at(got, "info"))
	}
	secret := strings.Split(token.Reveal(), "_")[2]
	sum := token.Sum()
	h, err := s.Get(t.Context(), confset.Key{Kind: authority.KindToken, Name: token.ID})
	if err != nil || strings.Contains(string(h.Object.Body), secret) || !strings.Contains(string(h.Object.Body), string(sum[:])) {
		t.Fatalf("stored %q %v", h.Object.Body, err)
	}
	list := p.do("GET", "/v1/jointokens", "").body
	changes := p.do("GET", "/v1/changes", "").body
	if !strings.Contains(list, token.ID) || strings.Contains(list, "sha256\":\"") || !strings.Contains(changes, "new rack") {
		t.Errorf("%s\n%s", list, changes)
	}
	id := str(p.must(200, "DELETE", "/v1/jointokens/"+token.ID, ""), "change")
	if list := p.do("GET", "/v1/jointokens", "").body; strings.Contains(list, token.ID) {
		t.Error("a deleted token is listed")
	}
	p.must(404, "DELETE", "/v1/jointokens/"+token.ID, "")
	p.must(200, "GET", "/v1/changes/"+id, "")
	if all := p.log.String() + list + changes; strings.Contains(all, secret) || !strings.Contains(all, "jointoken/"+token.ID) {
		t.Error("the secret is in the log or the history, or the token's id isn't in the audit")
	}
	viewer := p.as(viewerKey)
	viewer.must(403, "POST", "/v1/jointokens", `{"region":"eu"}`)
	viewer.must(403, "DELETE", "/v1/jointokens/x", "")
	viewer.must(403, "POST", "/v1/nodes/n1:revoke", `{}`)
}

func TestJoinTokensThatMakeNoSense(t *testing.T) {
	p := start(t, founded(t))
	for name, tc := range map[string]struct {
		body, says string
		status     int
	}{
		"no region": {`{}`, "region", 400}, "bad group": {`{"region":"eu","group":"A B"}`, "group", 400}, "long": {`{"region":"eu","ttl":"8761h"}`, "ttl", 400},
		"short": {`{"region":"eu","ttl":"-1m"}`, "ttl", 400}, "many": {`{"region":"eu","uses":100001}`, "uses", 400}, "node": {`{"region":"eu","node":"a/b"}`, "node", 400},
	} {
		if a := p.do("POST", "/v1/jointokens", tc.body); a.status != tc.status || !strings.Contains(a.body, tc.says) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := start(t, memstore.New()).do("POST", "/v1/jointokens", `{"region":"eu"}`); a.status != 400 || !strings.Contains(a.body, "--sync-identity auto") {
		t.Errorf("without an authority: %d %s", a.status, a.body)
	}
}

func TestEndedJoinTokensGo(t *testing.T) {
	now := time.Now()
	p := start(t, founded(t), withClock(func() time.Time { return now }))
	for range 60 {
		p.must(200, "POST", "/v1/jointokens", `{"region":"eu"}`)
	}
	now = now.Add(11 * time.Minute)
	if list := p.do("GET", "/v1/jointokens", "").body; strings.Contains(list, "region") {
		t.Errorf("ended ones are listed: %s", list)
	}
	for range 2 {
		p.must(200, "POST", "/v1/jointokens", `{"region":"eu"}`)
	}
	if heads := (storeIndex{p.store}).List(authority.KindToken, "", 100); len(heads) != 2 {
		t.Errorf("%d tokens are stored", len(heads))
	}
}

func TestADataPlaneIsRevokedAndReadmitted(t *testing.T) {
	s := memstore.New()
	now := time.Now().UTC().Truncate(time.Millisecond)
	p := start(t, s, withClock(func() time.Time { return now }))
	stored := func() *configv1.Node {
		h, err := s.Get(t.Context(), confset.Key{Kind: authority.KindNode, Name: "n1"})
		m := &configv1.Node{}
		if err != nil || proto.Unmarshal(h.Object.Body, m) != nil {
			t.Fatal(err)
		}
		return m
	}
	p.must(200, "POST", "/v1/nodes/n1:revoke", `{"message":"stolen"}`)
	if n := stored(); !n.GetRevoked() || !n.GetNotBefore().AsTime().Equal(now) {
		t.Errorf("%v", n)
	}
	p.must(200, "POST", "/v1/nodes/n1:revoke", `{"readmit":true}`)
	if n := stored(); n.GetRevoked() || !n.GetNotBefore().AsTime().Equal(now.Add(2*time.Second)) || n.GetToken() != "" {
		t.Errorf("%v", n)
	}
	p.must(400, "POST", "/v1/nodes/-x:revoke", `{}`)
	p.must(400, "POST", "/v1/nodes/n1:revoke", fmt.Sprintf(`{"message":%q}`, strings.Repeat("x", 5000)))
	if !strings.Contains(p.log.String(), "node/n1") || !strings.Contains(p.do("GET", "/v1/changes", "").body, "stolen") {
		t.Error("the audit or the history doesn't name it")
	}
}

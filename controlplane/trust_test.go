package controlplane_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// value is what nobody but the data planes that need it may see.
const value = "ghp_+hidden/value?0123456789"

// rest makes an admin call that must succeed, notes the answer, and returns it decoded.
func (r *running) rest(t *testing.T, said *bytes.Buffer, status int, method, path, body string) (out map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.AdminAddr().String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(said, "%v %s", resp.Header, b)
	if err := json.Unmarshal(b, &out); err != nil || resp.StatusCode != status {
		t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	return out
}

// takeSecrets takes the next update and returns the secrets in it, with their values, and the removals.
func (f *follower) takeSecrets() (upserts, removals []string) {
	f.t.Helper()
	u := f.next().GetUpdate()
	if u == nil || u.GetMore() {
		f.t.Fatal("not one update")
	}
	for _, r := range u.GetUpserts() {
		if r.GetKind() != "secret" {
			continue
		}
		m := &configv1.Secret{}
		if err := proto.Unmarshal(r.GetBody(), m); err != nil {
			f.t.Fatal(err)
		}
		upserts = append(upserts, m.GetName()+"="+m.GetSpec().GetValue())
	}
	for _, n := range u.GetRemovals() {
		if n.GetKind() == "secret" {
			removals = append(removals, n.GetName())
		}
	}
	f.held.Epoch, f.held.Digest, f.held.Revision = u.GetEpoch(), u.GetDigest(), u.GetRevision()
	f.send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Ack{Ack: &syncv1.Ack{Nonce: u.GetNonce(), Digest: u.GetDigest(), Revision: u.GetRevision()}}})
	return upserts, removals
}

func TestASecretReachesTheRegionThatNeedsItAndNothingElse(t *testing.T) {
	t.Parallel()
	_, addr := startEtcd(t)
	p := run(t, addr, filepath.Join(t.TempDir(), "kek"))
	eu := follow(t, p, &syncv1.Hello{Node: "eu-1", Region: "eu", FeatureLevel: 2})
	us := follow(t, p, &syncv1.Hello{Node: "us-1", Region: "us", FeatureLevel: 2})
	eu.takeSecrets()
	us.takeSecrets()
	said := &bytes.Buffer{}
	p.rest(t, said, 200, "PUT", "/v1/secrets/token", `{"spec":{"value":"`+value+`"}}`)
	p.rest(t, said, 400, "PUT", "/v1/servers/github", strings.Replace(needing, "token", "other", 1))
	p.rest(t, said, 200, "PUT", "/v1/servers/github", needing)
	if up, _ := eu.takeSecrets(); !slices.Equal(up, []string{"token=" + value}) {
		t.Errorf("eu got %d secrets with the server, want the one it needs", len(up))
	}
	if up, gone := us.takeSecrets(); len(up)+len(gone) != 0 {
		t.Errorf("us got %d secrets, and %q removed", len(up), gone)
	}
	settled(t, p, said, "applied", 1)
	p.rest(t, said, 400, "DELETE", "/v1/secrets/token", "")
	p.rest(t, said, 200, "GET", "/v1/changes", "")
	p.rest(t, said, 200, "POST", "/v1/changes", `{"deletions":[{"kind":"server","name":"github"},{"kind":"secret","name":"token"}]}`)
	if _, gone := eu.takeSecrets(); !slices.Equal(gone, []string{"token"}) {
		t.Errorf("eu: %q removed", gone)
	}
	eu.leave()
	us.leave()
	searched(t, "the answers", said.Bytes())
	searched(t, "etcd", everything(t, addr))
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

const needing = `{"spec":{"endpoints":[{"url":"https://github.example.com/mcp","regions":["eu"]}],"auth":{"type":"bearer","value":{"secret":"token"}}}}`

// settled waits until the status of the secret is that of n data planes, and none is pending.
func settled(t *testing.T, p *running, said *bytes.Buffer, field string, n float64) {
	t.Helper()
	var st map[string]any
	for range 200 {
		st, _ = p.rest(t, said, 200, "GET", "/v1/secrets/token", "")["status"].(map[string]any)
		if st[field] == n && st["pending"] == nil {
			return
		}
	}
	t.Errorf("status %v, want %v %s and none pending", st, n, field)
}

// everything is what an etcd holds, of all revisions.
func everything(t *testing.T, addr string) []byte {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, DialTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var out bytes.Buffer
	last, err := client.Get(t.Context(), "", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for rev := int64(2); rev <= last.Header.Revision; rev++ {
		resp, err := client.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithRev(rev))
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range resp.Kvs {
			out.Write(kv.Key)
			out.Write(kv.Value)
		}
	}
	if !bytes.Contains(out.Bytes(), []byte("github.example.com")) || !bytes.Contains(out.Bytes(), []byte("secret/token")) {
		t.Fatal("the dump doesn't hold what was stored")
	}
	return out.Bytes()
}

// searched looks for the value in every spelling it could leak in.
func searched(t *testing.T, where string, b []byte) {
	t.Helper()
	for _, form := range []string{value, base64.StdEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value)),
		hex.EncodeToString([]byte(value)), url.QueryEscape(value), url.PathEscape(value)} {
		if bytes.Contains(bytes.ToLower(b), []byte(strings.ToLower(form))) {
			t.Errorf("%s hold the value as %s", where, form)
		}
	}
}

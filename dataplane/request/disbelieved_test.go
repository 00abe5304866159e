package request_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// A token that the server doesn't take any more is replaced after the first 401, also where that was the answer to our own initialize.
func TestATokenTheServerRefusesIsReplaced(t *testing.T) {
	for what, heads := range map[string][]string{"bare curl": nil, "a client": {"Mcp-Protocol-Version", "2025-11-25"}} {
		var minted atomic.Int64
		issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"access_token":"t-%d","token_type":"Bearer","expires_in":3600}`, minted.Add(1))
		}))
		defer issuer.Close()
		next := mcptest.Stateless()
		up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer t-2" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		}))
		s := one(up.URL)
		s.servers["up"].Auth = &configv1.Auth{Type: "oauth2", Flow: "client_credentials", ClientId: "gw", TokenUrl: issuer.URL + "/token", Value: &configv1.Value{Secret: "one"}}
		s.more = []confset.Object{object(t, "secret", "one", &configv1.Secret{Name: "one", Spec: &configv1.SecretSpec{Value: "a-secret-0123456789"}})}
		g := start(t, s)
		if a := g.send(t, http.MethodPost, "/up/mcp", list, heads...); a.status == 200 {
			t.Errorf("%s with a token that was refused: %d %s", what, a.status, a.body)
		}
		if a := g.send(t, http.MethodPost, "/up/mcp", list, heads...); a.status != 200 || minted.Load() != 2 {
			t.Errorf("%s: %d %s after %d tokens", what, a.status, a.body, minted.Load())
		}
	}
}

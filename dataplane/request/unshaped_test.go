package request_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// TestOperatorsSeeWhatPinsAreAbout: a pin is of the definition that the server gives, and the endpoint shows another one.
func TestOperatorsSeeWhatPinsAreAbout(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(library))
	defer up.Close()
	s := one(up.URL)
	s.servers["up"].Tools = &configv1.ServerTools{Deny: []string{"wipe"}, Overrides: []*configv1.ToolOverride{{Tool: "read", Name: "look"}}}
	s.keys = map[string]*configv1.ApiKeySpec{
		"carol": {Sha256: digest(carol), Servers: []string{"up"}},
		"some":  {Sha256: digest("sk-some"), Servers: []string{"up"}, Roles: []string{"debug"}, Tools: []*configv1.ToolRule{{Server: "up", Allow: []string{"read"}}}},
	}
	g := start(t, s)
	defer g.stop()
	ask := func(key string) answer {
		return g.send(t, http.MethodPost, "/up/mcp", list, "x-litellm-api-key", key, "x-hopgate-unshaped", "true")
	}
	if a := ask(alice); a.status != http.StatusOK || !strings.Contains(a.body, strings.Join(entries(), " ,\n")) {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, key := range []string{carol, "sk-some"} {
		if a := ask(key); a.status != http.StatusForbidden || strings.Contains(a.body, "wipe") {
			t.Errorf("%s: %d %s", key, a.status, a.body)
		}
	}
	if a := g.send(t, http.MethodPost, "/up/mcp", list, "x-litellm-api-key", alice); !strings.Contains(a.body, `"look"`) || strings.Contains(a.body, "wipe") {
		t.Errorf("without the header: %s", a.body)
	}
}

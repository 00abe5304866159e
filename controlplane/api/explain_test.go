package api_test

import (
	"encoding/json"
	"testing"

	"github.com/hopgate/hopgate/controlplane/store/memstore"
)

func TestExplainSaysWhichOverlayWon(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/servers/a", `{"spec":{"endpoints":[{"url":"http://127.0.0.1:3001/mcp"}],"timeouts":{"total":"10s"}}}`)
	p.must(200, "PUT", "/v1/overlays/region", `{"spec":{"kind":"server","target":"a","region":"eu","server":{"timeouts":{"total":"1s"}}}}`)
	p.must(200, "PUT", "/v1/overlays/group", `{"spec":{"kind":"server","target":"a","group":"edge","server":{"timeouts":{"total":"2s"}}}}`)
	got := p.must(200, "GET", "/v1/explain/server/a?region=eu&group=edge", "")
	for path, want := range map[string]any{
		`object`:  map[string]any{"server": map[string]any{"name": "a", "spec": map[string]any{"endpoints": []any{map[string]any{"url": "http://127.0.0.1:3001/mcp"}}, "timeouts": map[string]any{"total": "2s"}}}},
		`origins`: []any{map[string]any{"path": "spec.timeouts.total", "overlay": "group", "before": `"10s"`, "after": `"2s"`, "overruled": []any{"region"}}},
		`layers`: []any{
			map[string]any{"object": "server/a", "why": "is the object itself", "applied": true},
			map[string]any{"object": "overlay/region", "why": "is for region eu", "applied": true},
			map[string]any{"object": "overlay/group", "why": "is for group edge", "applied": true},
		},
	} {
		if a, b := filled(t, got[path]), filled(t, want); a != b {
			t.Errorf("%s: %s, want %s", path, a, b)
		}
	}
}

// filled is a value as JSON, without fields that hold nothing.
func filled(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(withoutNothing(v))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func withoutNothing(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			if x = withoutNothing(x); x != nil {
				out[k] = x
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		var out []any
		for _, x := range v {
			if x = withoutNothing(x); x != nil {
				out = append(out, x)
			}
		}
		if out == nil {
			return nil
		}
		return out
	case string:
		if v == "" {
			return nil
		}
	}
	return v
}

func TestExplainRefusesWhatCantBeExplained(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/servers/a", demo)
	p.must(404, "GET", "/v1/explain/server/b?region=eu", "")
	if got := str(p.must(400, "GET", "/v1/explain/server/a", ""), "message"); got != "region: is missing; name the region of the data plane" {
		t.Error(got)
	}
	if got := str(p.must(400, "GET", "/v1/explain/apikey/a?region=eu", ""), "message"); got != `kind: is "apikey", which has no overlays; use one of server, toolset, ingress, settings` {
		t.Error(got)
	}
}

func TestATargetStaysWhileOverlaysReferToIt(t *testing.T) {
	p := start(t, memstore.New())
	p.must(400, "PUT", "/v1/overlays/eu", samples["overlay"])
	p.must(200, "PUT", "/v1/servers/overlaid", demo)
	p.must(200, "PUT", "/v1/overlays/eu", samples["overlay"])
	if got := str(p.must(400, "DELETE", "/v1/servers/overlaid", ""), "message"); got !=
		`server "overlaid": is in use by overlay "eu"; remove these references before, or in the same change` {
		t.Error(got)
	}
	p.must(200, "DELETE", "/v1/overlays/eu", "")
	p.must(200, "DELETE", "/v1/servers/overlaid", "")
}

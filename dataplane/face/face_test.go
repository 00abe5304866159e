package face_test

import (
	"net/http"
	"testing"

	"github.com/hopgate/hopgate/dataplane/face"
	"github.com/hopgate/hopgate/dataplane/mcptest"
)

func TestOtherPathsAreTheHandlers(t *testing.T) {
	r := start(t, one(mcptest.Start(t, mcptest.Stateless()).URL))
	for path, want := range map[string]int{"/up/mcp": 200, "/mcp/up": 200, "/mcp": 200, "/toolset/nothing/mcp": 404, "/nothing": 404, "/mcp-rest/tools/cal": 404, "/mcp-rest/x/list": 404, "/a/b/sse": 404} {
		if got := r.send(t, "POST", path, list); got.status != want {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got := r.send(t, http.MethodGet, "/readyz", ""); got.status != 200 {
		t.Errorf("%d", got.status)
	}
}

func TestAFaceNeedsItsParts(t *testing.T) {
	if _, err := face.New(nil, nil); err == nil {
		t.Error("no error")
	}
}

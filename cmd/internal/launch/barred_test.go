package launch_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	"github.com/hopgate/hopgate/cmd/internal/operator"
	"github.com/hopgate/hopgate/dataplane/mcptest"
)

// The master key of a control plane opens nothing on its data planes, and yet they don't pass it on.
func TestTheMasterKeyNeverLeavesADataPlane(t *testing.T) {
	upstream := mcptest.Start(t, mcptest.Stateless())
	c := startControl(t, launch.Control{})
	p := startProxy(t, launch.Proxy{Control: []string{c.sync}})
	key := c.apply(t, nil, upstream.URL, 1)
	client, err := operator.Connect(operator.Access{API: "http://" + c.admin, Key: c.key})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // the test ends
	file := filepath.Join(t.TempDir(), "own.yaml")
	write(t, file, "kind: Server\nname: one\nspec:\n  endpoints: [{url: \""+upstream.URL+"\"}]\n  auth: {type: passthrough}\n")
	docs, err := operator.Documents([]string{file}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&operator.Apply{Documents: docs, Wait: patience}).Run(t.Context(), client, &paper{}); err != nil {
		t.Fatal(err)
	}
	with := func(authorization string) (status int, fault string) {
		r, err := http.NewRequest(http.MethodPost, p.mcp+"/one/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Content-Type": {"application/json"}, "X-Litellm-Api-Key": {key}, "Authorization": {authorization}}
		status, fault, _ = do(t, r)
		return status, fault
	}
	until(t, "the new key is taken", func() bool { status, _ := with("Bearer their-own-token"); return status == http.StatusOK })
	before := len(upstream.Seen())
	if status, fault := with("Bearer " + c.key); !strings.Contains(fault, "kind=credential_leak") || len(upstream.Seen()) != before {
		t.Errorf("the master key as the server's token: %d %s, %d requests reached the server", status, fault, len(upstream.Seen())-before)
	}
}

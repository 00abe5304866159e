//go:build e2e && linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// TestWhatIsTooLargeIsRefusedWithTheNumber asks each layer for more than it takes: a caller's body, a call of the admin API, an object, and a change
// on a real etcd. Nothing of it is stored, and the fleet serves as before.
func TestWhatIsTooLargeIsRefusedWithTheNumber(t *testing.T) {
	t.Parallel()
	c := startControl(t, "control", nil, "--etcd", clients(startEtcd(t)), "--kek-file", newKEK(t))
	p := startProxy(t, "proxy", nil, []*control{c})
	c.apply(t, server("demo", demoServer(t)))
	key := c.key(t, "caller", "demo")
	firstAnswer(t, p, key)
	before := c.digest(t, "proxy")

	a, err := post("http://"+p.Listen+"/demo/mcp", key, toolCall("echo", map[string]any{"message": strings.Repeat("x", 4<<20)}))
	ok(t, err)
	if a.Status != 413 || !strings.Contains(a.Body, "too_large") || !strings.Contains(a.Body, "4194304") {
		t.Errorf("a body over 4 MiB: %d %.300s", a.Status, a.Body)
	}
	many := &adminv1.CreateChangeRequest{}
	for i := range 121 {
		many.Objects = append(many.Objects, apiServer(fmt.Sprintf("many_%d", i)))
	}
	tooMuch(t, c, "121 objects in a change", many, "121 objects in a change, at most 120 are possible (raise --max-txn-ops")
	big := apiServer("big")
	for i := range 200 {
		big.GetServer().Spec.Headers = append(big.GetServer().GetSpec().GetHeaders(), &configv1.Header{Name: fmt.Sprintf("x-%d", i), Text: strings.Repeat("v", 8<<10)})
	}
	tooMuch(t, c, "an object of 1.6 MiB", &adminv1.CreateChangeRequest{Objects: []*adminv1.Object{big}}, "bytes in an object, at most 1570816 are possible")

	if now := c.digest(t, "proxy"); now != before {
		t.Errorf("the fleet's config has become %s", now)
	}
	firstAnswer(t, p, key)
}

// newKEK is a key-encryption key in a file.
func newKEK(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kek")
	ok(t, os.WriteFile(path, []byte(strings.Repeat("5a", 32)), 0o600))
	return path
}

func apiServer(name string) *adminv1.Object {
	return &adminv1.Object{Object: &adminv1.Object_Server{Server: &configv1.Server{Name: name,
		Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: "http://127.0.0.1:9/mcp"}}}}}}
}

// tooMuch makes a change that must be refused with a sentence.
func tooMuch(t *testing.T, c *control, what string, req *adminv1.CreateChangeRequest, says string) {
	t.Helper()
	_, err := c.client(t).CreateChange(t.Context(), req)
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %.400v; want it to say %q", what, err, says)
		return
	}
	t.Logf("%s: %.200v", what, err)
}

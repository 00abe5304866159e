//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// masterKey opens the admin API of every control plane of the journeys.
const masterKey = "sk-e2e-master-0123456789abcdef"

// control is a control plane's process.
type control struct {
	*running
	Admin, Sync string
	admin       *operator.Client // made on first use
}

// startControl starts a control plane and waits until it answers. Restarting one with the same data directory and addresses is what again does.
func startControl(t *testing.T, name string, env []string, flags ...string) *control {
	t.Helper()
	host := ownHost()
	c := &control{Admin: host + ":4001", Sync: host + ":4002"}
	args := []string{hopgate(t), "control", "--admin", c.Admin, "--sync", c.Sync, "--replica", name}
	if !strings.Contains(strings.Join(flags, " "), "--data-dir") {
		args = append(args, "--data-dir", filepath.Join(t.TempDir(), "data"))
	}
	c.running = start(t, program{Name: name, Args: append(args, flags...), Env: append(env, "HOPGATE_MASTER_KEY="+masterKey), Clean: true})
	c.wait(t)
	return c
}

func (c *control) wait(t *testing.T) {
	t.Helper()
	eventually(t, 20*time.Second, c.Name+" answers", func() error {
		if !c.alive() {
			t.Fatalf("%s ended: %v\n%s", c.Name, c.state, tail(c.output(), 30))
		}
		return c.get("/v1/info", new(struct{}))
	})
}

// again starts the control plane once more after it was killed.
func (c *control) again(t *testing.T) {
	t.Helper()
	c.running = start(t, c.program)
	c.wait(t)
}

// get reads a resource of the REST API.
func (c *control) get(path string, into any) error {
	req, err := http.NewRequest(http.MethodGet, "http://"+c.Admin+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	res, err := quick.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// command runs one of the operators' commands against the control plane.
func (c *control) command(t *testing.T, stdin string, env []string, args ...string) result {
	t.Helper()
	p := program{Name: args[0], Args: append([]string{hopgate(t)}, append(args, "--api", "http://"+c.Admin)...), Env: append(env, "HOPGATE_API_KEY="+masterKey)}
	return run(t, 90*time.Second, p, stdin)
}

// apply applies YAML documents and returns when every connected data plane serves them.
func (c *control) apply(t *testing.T, yaml string) string {
	t.Helper()
	res := c.command(t, yaml, nil, "apply", "-f", "-", "--wait")
	if res.Code != 0 {
		t.Fatalf("apply:\n%s\n%v", yaml, res)
	}
	return res.Out
}

// key makes an API key and returns it once every connected data plane knows it.
func (c *control) key(t *testing.T, name string, servers string, more ...string) string {
	t.Helper()
	res := c.command(t, "", nil, append([]string{"key", "create", "--name", name, "--servers", servers}, more...)...)
	if res.Code != 0 {
		t.Fatalf("key create: %v", res)
	}
	c.settled(t)
	return strings.TrimSpace(res.Out)
}

// settled waits until every connected data plane has answered the latest change.
func (c *control) settled(t *testing.T) {
	t.Helper()
	var list struct{ Changes []struct{ ID string } }
	if err := c.get("/v1/changes?page_size=1", &list); err != nil || len(list.Changes) != 1 {
		t.Fatalf("latest change: %v %+v", err, list)
	}
	eventually(t, 20*time.Second, "change "+list.Changes[0].ID+" is answered", func() error {
		var change struct{ Delivery struct{ Nodes, Pending int } }
		if err := c.get("/v1/changes/"+list.Changes[0].ID, &change); err != nil {
			return err
		}
		if change.Delivery.Pending > 0 {
			return fmt.Errorf("%+v", change)
		}
		return nil
	})
}

// client is the admin API over gRPC.
func (c *control) client(t *testing.T) *operator.Client {
	t.Helper()
	if c.admin == nil {
		client, err := operator.Connect(operator.Access{API: "http://" + c.Admin, Key: masterKey})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() }) //nolint:errcheck // the test is over
		c.admin = client
	}
	return c.admin
}

// nodes is the fleet as this control plane sees it.
func (c *control) nodes(t *testing.T) map[string]*adminv1.Node {
	t.Helper()
	fleet, err := c.client(t).ListNodes(t.Context(), &adminv1.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*adminv1.Node{}
	for _, n := range fleet.GetNodes() {
		out[n.GetNode()] = n
	}
	return out
}

// inSync waits until every connected data plane serves the desired set.
func (c *control) inSync(t *testing.T, names ...string) {
	t.Helper()
	eventually(t, 30*time.Second, "fleet of "+c.Name+" in sync", func() error {
		nodes := c.nodes(t)
		for _, n := range names {
			if !nodes[n].GetConnected() {
				return fmt.Errorf("%s is not connected", n)
			}
		}
		for name, n := range nodes {
			if n.GetConnected() && !n.GetInSync() {
				return fmt.Errorf("%s is behind", name)
			}
		}
		return nil
	})
}

// proxy is a data plane's process.
type proxy struct {
	*running
	Listen, Admin, State string
}

// thisHopgate is the program under test; some tests run others for a while, which may know fewer flags.
var thisHopgate = os.Getenv("E2E_HOPGATE")

// startProxy starts a data plane and waits until it is ready.
func startProxy(t *testing.T, name string, env []string, controls []*control, flags ...string) *proxy {
	t.Helper()
	host := ownHost()
	p := &proxy{Listen: host + ":4000", Admin: host + ":4003", State: filepath.Join(t.TempDir(), "state")}
	if i := slices.Index(flags, "--listen"); i >= 0 {
		p.Listen = flags[i+1]
	}
	sync := []string{}
	for _, c := range controls {
		sync = append(sync, c.Sync)
	}
	args := []string{hopgate(t), "proxy", "--node", name, "--control", strings.Join(sync, ","), "--listen", p.Listen, "--admin", p.Admin, "--state-dir", p.State,
		"--drain-delay", "0s", "--drain-timeout", "2s"}
	if hopgate(t) == thisHopgate && !slices.Contains(flags, "--advertise") && !slices.Contains(flags, "--tls-cert") {
		args = append(args, "--advertise", "http://"+p.Listen) // all of a test are on one host: off loopback it would be found
	}
	p.running = start(t, program{Name: name, Args: append(args, flags...), Env: env, Clean: true})
	p.wait(t)
	return p
}

func (p *proxy) wait(t *testing.T) {
	t.Helper()
	eventually(t, 20*time.Second, p.Name+" is ready", func() error {
		if !p.alive() {
			t.Fatalf("%s ended: %v\n%s", p.Name, p.state, tail(p.output(), 30))
		}
		return okay("http://" + p.Listen + "/readyz")
	})
}

// again starts the data plane once more, without waiting.
func (p *proxy) again(t *testing.T) {
	t.Helper()
	p.running = start(t, p.program)
}

// url is the route of one server.
func (p *proxy) url(server string) string { return "http://" + p.Listen + "/" + server + "/mcp" }

// server is a Server document.
func server(name, url string) string {
	return fmt.Sprintf("kind: Server\nname: %s\nspec:\n  endpoints: [{url: %q}]\n---\n", name, url)
}

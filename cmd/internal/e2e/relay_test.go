//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A region with a relay of its own goes on, restarts and grows while home is away.

// joinLimit is what a new data plane may take to serve in a region that is cut off from home.
const joinLimit = 2 * time.Second

func TestRelayServesItsRegionWhileHomeIsAway(t *testing.T) {
	home := startControl(t, "home", nil)
	relay := startControl(t, "relay", nil, "--upstream", home.Sync, "--region", "eu", "--node", "relay-eu")
	first := startProxy(t, "eu-1", nil, []*control{relay}, "--region", "eu")
	home.apply(t, server("demo", demoServer(t)))
	key := home.key(t, "caller", "*")
	if res := home.command(t, "hush", nil, "secret", "set", "token"); res.Code != 0 {
		t.Fatal(res)
	}
	home.apply(t, fmt.Sprintf("kind: Server\nname: guarded\nspec:\n  endpoints: [{url: %q, regions: [eu]}]\n  auth: {type: bearer, value: {secret: token}}\n", demoServer(t)))
	firstAnswer(t, first, key)
	home.inSync(t, "relay-eu")
	relay.inSync(t, "eu-1")
	passedOn(t, home, relay)

	home.kill()
	relay.kill()
	relay.again(t)
	exec := mark()
	second := startProxy(t, "eu-2", nil, []*control{relay}, "--region", "eu")
	took := firstAnswer(t, second, key).Sub(exec.at)
	t.Logf("home away, relay restarted: a new data plane answered its first call %s after exec", took.Round(time.Millisecond))
	exec.within(t, "a new data plane answered its first call after exec", took, joinLimit)
	if err := echo(second.url("guarded"), key, "secret"); err != nil {
		t.Errorf("a server with a secret on the new data plane: %v", err)
	}
	elsewhere(t, relay)

	home.again(t)
	home.apply(t, server("later", demoServer(t)))
	eventually(t, 30*time.Second, "a change made after the outage is served in the region", func() error { return echo(second.url("later"), key, "news") })
	var info struct{ Upstream string }
	if err := relay.get("/v1/info", &info); err != nil || info.Upstream != home.Sync {
		t.Errorf("info %v %v", info, err)
	}
}

// passedOn checks that home sees the relay with what is behind it, and that both stand at one digest.
func passedOn(t *testing.T, home, relay *control) {
	t.Helper()
	eventually(t, 30*time.Second, "home hears of the data planes behind the relay", func() error {
		n := home.nodes(t)["relay-eu"]
		if !n.GetRelay() || n.GetRelayed() != 1 || n.GetRelayedBehind() != 0 {
			return fmt.Errorf("node %v", n)
		}
		if below := relay.nodes(t)["eu-1"]; string(below.GetDigest()) != string(n.GetDigest()) {
			return fmt.Errorf("digest %x behind the relay, %x on it", below.GetDigest(), n.GetDigest())
		}
		return nil
	})
}

// elsewhere checks that a relay reads and doesn't write, and that it shows no secret.
func elsewhere(t *testing.T, relay *control) {
	t.Helper()
	a, err := relay.send(http.MethodGet, "/v1/secrets/token", "", "")
	if err != nil || a.Status != http.StatusOK || strings.Contains(a.Body, "hush") || strings.Contains(a.Body, "damaged") {
		t.Errorf("a secret on the relay: %v %v", a, err)
	}
	a, err = relay.send(http.MethodPut, "/v1/teams/new", "", `{"spec": {"servers": ["*"]}}`)
	if err != nil || a.Status != http.StatusServiceUnavailable || !strings.Contains(a.Body, "relay") {
		t.Errorf("a write on the relay: %v %v", a, err)
	}
}

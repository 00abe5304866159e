//go:build e2e

package e2e

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestARegionCutOffFromHomeLetsDataPlanesJoinAndShutsOutWhoIsRevoked(t *testing.T) {
	home := startControl(t, "home", nil, "--sync-identity", "auto")
	file, _ := home.joinToken(t, "--relay")
	joinRefused(t, file, "a data plane joins with one of its own", home)
	relay := startControl(t, "relay", nil, "--sync-identity", "auto", "--upstream", home.Sync, "--node", "relay-eu", "--join-file", file)
	home.inSync(t, "relay-eu")
	home.apply(t, server("demo", demoServer(t)))
	key := home.key(t, "caller", "demo")

	token, _ := home.joinToken(t)
	roaming := joins(t, "n1", token, home) // by home's hand, then at the relay
	roaming.stop(t)
	for i, arg := range roaming.Args {
		if arg == "--control" {
			roaming.Args[i+1] = relay.Sync
		}
	}
	roaming.again(t)
	roaming.wait(t)
	relay.inSync(t, "n1")

	home.kill()
	relay.kill()
	relay.again(t)
	own, text := relay.joinToken(t, "--uses", "2")
	began := time.Now()
	second := joins(t, "n2", own, relay)
	t.Logf("home away, relay restarted: a new data plane joined and answered its first call after %s", firstAnswer(t, second, key).Sub(began).Round(time.Millisecond))
	if res := relay.command(t, "", nil, "token", "create", "--region", "us"); res.Code == 0 || !strings.Contains(res.Err, "relay of region eu") {
		t.Errorf("a token for another region: %v", res)
	}
	joins(t, "n3", own, relay)
	joinRefused(t, own, "is used up (2 of 2)", relay)

	home.again(t)
	home.inSync(t, "relay-eu")
	relay.inSync(t, "n1", "n2", "n3")
	for _, name := range []string{"n1", "n2"} {
		asked := mark()
		if res := home.command(t, "", nil, "node", "revoke", name); res.Code != 0 {
			t.Fatal(res)
		}
		relay.lost(t, name)
		took := time.Since(asked.at)
		t.Logf("%s, behind the relay, is shut out %s after the command at home was started", name, took.Round(time.Millisecond))
		asked.within(t, name+" is shut out", took, gone)
	}
	if err := echo(second.url("demo"), key, "from the last good config"); err != nil {
		t.Errorf("the revoked data plane's callers: %v", err)
	}

	home.kill()
	relay.kill()
	relay.again(t)
	relay.inSync(t, "n3")
	if nodes := relay.nodes(t); nodes["n1"].GetConnected() || nodes["n2"].GetConnected() {
		t.Error("a relay that starts without home takes who is revoked")
	}
	if secret := strings.Split(text, "_")[2]; strings.Contains(relay.output()+second.output(), secret) {
		t.Error("the token is in a log")
	}
}

// lost waits until a data plane isn't connected any more.
func (c *control) lost(t *testing.T, name string) {
	t.Helper()
	eventually(t, shown, name+" is shut out", func() error {
		if c.nodes(t)[name].GetConnected() {
			return errors.New("connected")
		}
		return nil
	})
}

package fleet_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/controlplane/fleet"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func TestListenersHearOfEveryTurnOnce(t *testing.T) {
	w := newWorld(t, fleet.Config{})
	v := w.to(5, map[string]string{"a": "1"})
	old := w.join("old")
	old.Applied(v, &syncv1.Ack{}, true)
	var heard []string
	stop := w.Listen(func(n *adminv1.Node) {
		heard = append(heard, fmt.Sprintf("%s up=%v sync=%v at %d refused=%q rejected=%d", n.GetNode(), n.GetConnected(), n.GetInSync(), n.GetRevision(), n.GetRefused(), len(n.GetRejected())))
	})
	expect := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(heard, want) {
			t.Errorf("%s: heard\n%s\nwant\n%s", what, strings.Join(heard, "\n"), strings.Join(want, "\n"))
		}
		heard = nil
	}
	old.Health(&syncv1.Health{InFlight: 3})
	old.Holds(v)
	expect("nothing new")
	m := w.join("new")
	expect("a node comes", `new up=true sync=false at 0 refused="" rejected=0`)
	m.Applied(v, rejects("a", "is broken"), true)
	expect("it rejects", `new up=true sync=true at 5 refused="" rejected=1`)
	m.Applied(v, rejects("a", "is broken"), true)
	expect("it says so again")
	m.Applied(v, rejects("a", "is odd"), true)
	expect("another text", `new up=true sync=true at 5 refused="" rejected=1`)
	next := w.to(6, map[string]string{"a": "2"})
	m.Refused(next, "crashed under it", true)
	expect("it refuses all", `new up=true sync=false at 5 refused="crashed under it" rejected=1`)
	old.Health(&syncv1.Health{})
	expect("the other is behind", `old up=true sync=false at 5 refused="" rejected=0`)
	m.Leave()
	expect("it goes", `new up=false sync=false at 5 refused="crashed under it" rejected=1`)
	stop()
	old.Leave()
	expect("after stop")
}

func TestARefusedUpdateIsToldUntilOneIsTaken(t *testing.T) {
	w := newWorld(t, fleet.Config{})
	m := w.join("n")
	m.Refused(w.to(5, map[string]string{"a": "1"}), "removes too much", false)
	if got := w.Nodes()[0].GetRefused(); got != "removes too much" {
		t.Errorf("refused %q", got)
	}
	m.Applied(w.to(6, map[string]string{"a": "1"}), &syncv1.Ack{}, true)
	if got := w.Nodes()[0].GetRefused(); got != "" {
		t.Errorf("still refused %q after an update was taken", got)
	}
}

func TestOnlyRelaysTellWhatTheyPassOn(t *testing.T) {
	w := newWorld(t, fleet.Config{})
	for _, m := range []*fleet.Member{w.Join(fleet.Joined{Node: "a", Relay: true}), w.Join(fleet.Joined{Node: "b"})} {
		m.Health(&syncv1.Health{Relayed: 12, RelayedBehind: 2})
	}
	a, b := w.Nodes()[0], w.Nodes()[1]
	if !a.GetRelay() || a.GetRelayed() != 12 || a.GetRelayedBehind() != 2 || b.GetRelay() || b.GetRelayed() != 0 || b.GetRelayedBehind() != 0 {
		t.Errorf("relay %v, other %v", a, b)
	}
	if n := w.Connected(); n != 2 {
		t.Errorf("%d connected", n)
	}
}

package operator_test

import (
	"bytes"
	"testing"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

func TestConditionSaysWhatIsAmissAndWhatToDo(t *testing.T) {
	for want, info := range map[string]*adminv1.Info{
		"": {},
		"the store has been out of reach for 1m30s: nothing can be changed, the data planes keep what they have; see that the control plane reaches it\n":  {StaleSeconds: 90},
		"this is a relay of cp:4002\nits control plane has been out of reach for 2s: the data planes keep what they have; see that the relay reaches it\n": {Upstream: "cp:4002", StaleSeconds: 2},
		"12 removals are held, because the store lost these objects without a change that says so; the data planes keep them\n" +
			"  see them: hopgate removals; let them go: hopgate removals confirm 12; or put the objects back: hopgate apply\n": {HeldRemovals: 12},
	} {
		var b bytes.Buffer
		if operator.PrintCondition(&b, info); b.String() != want {
			t.Errorf("got\n%s\nwant\n%s", b.String(), want)
		}
	}
}

func TestStatusForScriptsTellsWhatIsHeldAndHowStaleItIs(t *testing.T) {
	nodes := &adminv1.ListNodesResponse{Revision: 7, Nodes: []*adminv1.Node{{Node: "dp-1", Connected: true}}}
	info := &adminv1.Info{Replica: "cp-1", Version: "1", Epoch: "e", StaleSeconds: 90, HeldRemovals: 101, Held: []*adminv1.ObjectName{{Kind: "server", Name: "a"}}, Caller: "me"}
	for _, c := range []struct {
		format, want string
		fleet        *adminv1.ListNodesResponse
		info         *adminv1.Info
	}{
		{operator.YAML, "nodes:\n  - node: dp-1\n    connected: true\nrevision: \"7\"\ncontrol_plane:\n  replica: cp-1\n  version: \"1\"\n  epoch: e\n" +
			"  stale_seconds: \"90\"\n  held_removals: 101\n  held:\n    - server/a\n", nodes, info},
		{operator.JSON, "{\n  \"nodes\": [],\n  \"revision\": \"0\",\n  \"control_plane\": {\n    \"replica\": \"\",\n    \"version\": \"\",\n    \"epoch\": \"\",\n" +
			"    \"stale_seconds\": \"0\",\n    \"held_removals\": 0\n  }\n}\n", &adminv1.ListNodesResponse{}, &adminv1.Info{}},
	} {
		var b bytes.Buffer
		if err := operator.PrintStatus(&b, c.format, c.fleet, c.info); err != nil || b.String() != c.want {
			t.Errorf("%v\n%s\nwant\n%s", err, b.String(), c.want)
		}
	}
}

func TestRemovalsAreListedWithTheirNumber(t *testing.T) {
	var b bytes.Buffer
	info := &adminv1.Info{HeldRemovals: 3, Held: []*adminv1.ObjectName{{Kind: "server", Name: "a"}, {Kind: "server", Name: "b"}}}
	if err := operator.PrintRemovals(&b, operator.Text, info); err != nil || b.String() != "server/a\nserver/b\nand 1 more\nlet them go: hopgate removals confirm 3\n" {
		t.Errorf("%v %q", err, b.String())
	}
}

func TestStatusSaysWhyAnUpdateWasRefusedAndWhatRelaysPassOn(t *testing.T) {
	var b bytes.Buffer
	err := operator.PrintFleet(&b, &adminv1.ListNodesResponse{Nodes: []*adminv1.Node{{Node: "eu", Connected: true, Refused: "removes too\nmuch", Relay: true, Relayed: 12, RelayedBehind: 2}}})
	want := "eu is a relay: 12 data planes are connected to it, 2 of them behind\neu took nothing of its newest update: removes too much\n"
	if err != nil || !bytes.HasSuffix(b.Bytes(), []byte(want)) {
		t.Errorf("%v\n%s", err, b.String())
	}
}

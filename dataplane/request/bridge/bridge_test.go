package bridge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/bridge"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestRequestsBetweenErasAreRefused(t *testing.T) {
	for _, c := range []struct {
		protocol string
		caller   message.Era
		known    bridge.Known
		method   string
		refused  bool
	}{
		{"auto", message.Modern, bridge.Known{}, "tools/list", false},
		{"auto", message.Legacy, bridge.Known{}, "tools/list", false},
		{"auto", message.Modern, bridge.Known{NotModern: true}, "tools/list", true},
		{"auto", message.Legacy, bridge.Known{NotModern: true}, "tools/list", false},
		{"auto", message.Legacy, bridge.Known{NotLegacy: true}, "tools/list", true},
		{"auto", message.Modern, bridge.Known{NotLegacy: true}, "tools/list", false},
		{"legacy", message.Modern, bridge.Known{}, "tools/list", true},
		{"legacy", message.Legacy, bridge.Known{NotLegacy: true}, "tools/list", false},
		{"modern", message.Legacy, bridge.Known{}, "tools/list", true},
		{"modern", message.Modern, bridge.Known{NotModern: true}, "tools/list", false},
		{"legacy", message.Modern, bridge.Known{}, "server/discover", false},
		{"modern", message.Legacy, bridge.Known{}, "initialize", false},
	} {
		path, err := bridge.Between(bridge.Ask{Caller: c.caller, Method: c.method, Requested: "2025-06-18"}, &table.Server{Name: "up", Protocol: c.protocol}, c.known)
		if path != bridge.Same || (err != nil) != c.refused {
			t.Errorf("%+v: %v, %v", c, path, err)
		}
		if err == nil {
			continue
		}
		f := fault.As(err)
		if f.HTTPStatus() != http.StatusBadRequest || f.JSONRPCCode() != -32022 || f.Server != "up" || !strings.Contains(f.Data, "2025-06-18") {
			t.Errorf("%s %d %s", f.Header(), f.JSONRPCCode(), f.Data)
		}
		if modern := strings.Contains(f.Data, `["2026-07-28"]`); modern != (c.caller == message.Legacy) {
			t.Errorf("%+v: %s", c, f.Data)
		}
	}
}

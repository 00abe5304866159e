package hop_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/hop"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/dataplane/telemetry"
	"github.com/hopgate/hopgate/proto/fault"
)

const (
	wrongEra = `{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"],"requested":"2025-11-25"}}}`
	noMethod = `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`
)

const rpcError = `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}`

// What an upstream's answer outside 2xx means, and what of it the caller may see.
func TestWhatARefusalMeans(t *testing.T) {
	for _, c := range []struct {
		name       string
		status     int
		kind, body string
		session    bool
		face       string
		verbatim   bool
	}{
		{"401", 401, "text/plain", "", false, "headers; kind=unauthenticated; remote=true", false},
		{"401 in JSON-RPC", 401, "application/json", rpcError, false, "headers; kind=unauthenticated; remote=true", true},
		{"403", 403, "text/plain", "no", false, "headers; kind=denied; remote=true", false},
		{"404", 404, "text/plain", "no", false, "headers; kind=not_found; remote=true", false},
		{"404 in a session", 404, "text/plain", "no", true, "session; kind=not_found; remote=true", false},
		{"404 in a session in JSON-RPC", 404, "application/json", rpcError, true, "session; kind=not_found; remote=true", true},
		{"404 in a session that doesn't know the method", 404, "application/json", noMethod, true, "headers; kind=unsupported; remote=true", true},
		{"404 as an answer", 404, "application/json", rpcError, false, "headers; kind=not_found; remote=true", true},
		{"400 that refuses the revision", 400, "application/json", wrongEra, false, "headers; kind=unsupported; remote=true", true},
		{"404 that doesn't know the method", 404, "application/json", noMethod, false, "headers; kind=unsupported; remote=true", true},
		{"400 in JSON-RPC", 400, "application/json", rpcError, false, "headers; kind=malformed; remote=true", true},
		{"405", 405, "text/plain", "", false, "headers; kind=unsupported; remote=true", false},
		{"408", 408, "text/plain", "", false, "headers; kind=timed_out; remote=true", false},
		{"409", 409, "text/plain", "", false, "headers; kind=conflict; remote=true", false},
		{"413", 413, "text/plain", "", false, "headers; kind=too_large; remote=true", false},
		{"429", 429, "text/plain", "", false, "headers; kind=exhausted; remote=true", false},
		{"418", 418, "text/plain", "", false, "headers; kind=malformed; remote=true", false},
		{"500", 500, "text/plain", "", false, "headers; kind=internal; remote=true", false},
		{"501", 501, "text/plain", "", false, "headers; kind=unsupported; remote=true", false},
		{"500 in other JSON", 500, "application/json", `{"error":"x"}`, false, "headers; kind=internal; remote=true", false},
		{"500 with a result", 500, "application/json", `{"jsonrpc":"2.0","id":1,"result":{}}`, false, "headers; kind=internal; remote=true", false},
		{"500 with too much", 500, "application/json", rpcError + strings.Repeat(" ", 70<<10), false, "headers; kind=internal; remote=true", false},
		{"502 of a proxy", 502, "text/plain", "Bad Gateway", false, "intermediary; kind=unavailable", false},
		{"503 of the server", 503, "application/json", rpcError, false, "headers; kind=unavailable; remote=true", true},
		{"504 of a proxy", 504, "text/html", "<html>", false, "intermediary; kind=timed_out", false},
		{"403 page", 403, "text/html", "<html>", false, "intermediary; kind=denied", false},
		{"403 page without a type", 403, "", "\n <!doctype html>", false, "intermediary; kind=denied", false},
		{"404 page in a session", 404, "text/html", "<html>", true, "session; kind=not_found; remote=true", false},
		{"302", 302, "text/plain", "", false, "intermediary; kind=mismatch", false},
		{"307 in JSON-RPC", 307, "application/json", rpcError, false, "intermediary; kind=mismatch", false},
		{"304", 304, "", "", false, "intermediary; kind=mismatch", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := mcptest.Start(t, mcptest.Status(c.status, c.kind, c.body))
			h := newHop(t)
			call := hop.Call{Server: compiled(t, "up", up.URL, "auto"), Settings: table.New(table.Config{}).Settings(), Method: http.MethodPost, Body: []byte(`{}`)}
			var rec telemetry.Record
			a, err := h.Send(context.Background(), &call, &rec)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			r := a.Refused(nil, "up", c.session)
			got := strings.TrimPrefix(r.Fault.Header(), "hop=upstream; phase=")
			got, rest, _ := strings.Cut(got, "; upstream_status=")
			if got != c.face || !strings.HasSuffix(rest, "; server=up") || r.Status != c.status || rec.UpstreamStatus != c.status {
				t.Errorf("%s, want %s", r.Fault.Header(), c.face)
			}
			if (string(r.Body) == c.body && c.body != "") != c.verbatim || !c.verbatim && r.Body != nil {
				t.Errorf("body %.100q", r.Body)
			}
			if strings.Contains(r.Fault.Message+r.Fault.Hint, "<") {
				t.Errorf("the peer's text shows: %v", r.Fault)
			}
		})
	}
}

func TestWhatIsNotMCP(t *testing.T) {
	for kind, c := range map[string]struct{ body, want string }{
		"text/html":        {"<html>", "phase=intermediary; kind=mismatch"},
		"text/plain":       {"<!DOCTYPE html>", "phase=intermediary; kind=mismatch"},
		"application/json": {"<html>", "phase=protocol; kind=malformed"},
		"text/css":         {"body{}", "phase=protocol; kind=malformed"},
	} {
		up := mcptest.Start(t, mcptest.Status(200, kind, c.body))
		h := newHop(t)
		call := hop.Call{Server: compiled(t, "up", up.URL, "auto"), Settings: table.New(table.Config{}).Settings(), Method: http.MethodPost}
		var rec telemetry.Record
		a, err := h.Send(context.Background(), &call, &rec)
		if err != nil {
			t.Fatal(err)
		}
		f := a.NotMCP("up", []byte(c.body))
		a.Close()
		if f.Hop != fault.Upstream || !strings.Contains(f.Header(), c.want) {
			t.Errorf("%s: %s", kind, f.Header())
		}
	}
}

// Values that could end a header line are left out.
func TestHeaderLinesCantBeSmuggled(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	h := newHop(t)
	for _, bad := range []string{"a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb", "a\x00b", "a\x7fb"} {
		before := len(up.Seen())
		call := hop.Call{Server: compiled(t, "up", up.URL, "auto"), Settings: table.New(table.Config{}).Settings(), Method: http.MethodPost, Body: []byte(`{}`),
			Session: bad, Revision: bad, MCPMethod: bad, MCPName: bad, LastEventID: bad, Tracestate: bad, Params: []hop.Field{{Name: "Mcp-Param-X", Value: bad}}}
		var rec telemetry.Record
		a, err := h.Send(context.Background(), &call, &rec)
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
		for k := range up.Seen()[before].Header {
			if k != "User-Agent" && k != "Content-Type" && k != "Content-Length" && k != "Accept" {
				t.Errorf("%q travelled in %s", bad, k)
			}
		}
	}
}

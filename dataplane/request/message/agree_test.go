package message_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// headers builds canonical headers from name, value pairs.
func headers(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h.Add(kv[i], kv[i+1])
	}
	return h
}

// call builds a modern request with complete _meta around method and params members.
func call(method, members string) string {
	if members != "" {
		members += ","
	}
	return `{"jsonrpc":"2.0","id":7,"method":"` + method + `","params":{` + members +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
}

func meta(members string) string {
	return `{"jsonrpc":"2.0","id":7,"method":"server/discover","params":{"_meta":{` + members + `}}}`
}

func TestAgreeOfModernMessages(t *testing.T) {
	const v, version = "MCP-Protocol-Version", "2026-07-28"
	const unicodeName = "日本"
	encoded := "=?base64?" + base64.StdEncoding.EncodeToString([]byte(unicodeName)) + "?="
	discover := []string{v, version, "Mcp-Method", "server/discover"}
	for _, c := range []struct {
		name string
		h    []string
		body string
		code int // 0: agree
	}{
		{"list", []string{v, version, "Mcp-Method", "tools/list"}, call("tools/list", ""), 0},
		{"header names in any case", []string{"mcp-PROTOCOL-version", version, "MCP-METHOD", "tools/list"}, call("tools/list", ""), 0},
		{"blanks around values", []string{v, " " + version + "\t", "Mcp-Method", " tools/call ", "Mcp-Name", "  get  "}, call("tools/call", `"name":"get"`), 0},
		{"escaped in the body", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "get"}, call(`tools\/call`, `"name":"g\u0065t"`), 0},
		{"without clientInfo", discover, meta(`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}`), 0},
		{"unknown method", []string{v, version, "Mcp-Method", "unknown/method"}, call("unknown/method", ""), 0},
		{"initialize framed as modern", []string{v, version, "Mcp-Method", "initialize"}, call("initialize", ""), 0},
		{"name needless elsewhere", []string{v, version, "Mcp-Method", "tools/list", "Mcp-Name", "whatever"}, call("tools/list", `"name":"x"`), 0},
		{"param headers travel", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "t", "Mcp-Param-Region", "=?base64?SGVs!!!bG8=?="}, call("tools/call", `"name":"t"`), 0},

		{"no version header", []string{"Mcp-Method", "tools/list"}, call("tools/list", ""), -32020},
		{"two version headers", []string{v, version, v, version, "Mcp-Method", "tools/list"}, call("tools/list", ""), -32020},
		{"version header differs", discover, meta(`"io.modelcontextprotocol/protocolVersion":"v999.0.0","io.modelcontextprotocol/clientCapabilities":{}`), -32020},
		{"no params", discover, `{"jsonrpc":"2.0","id":7,"method":"server/discover"}`, -32602},
		{"no _meta", discover, `{"jsonrpc":"2.0","id":7,"method":"server/discover","params":{}}`, -32602},
		{"_meta null", discover, `{"jsonrpc":"2.0","id":7,"method":"server/discover","params":{"_meta":null}}`, -32602},
		{"no protocolVersion", discover, meta(`"io.modelcontextprotocol/clientCapabilities":{}`), -32602},
		{"protocolVersion a number", discover, meta(`"io.modelcontextprotocol/protocolVersion":20260728,"io.modelcontextprotocol/clientCapabilities":{}`), -32602},
		{"no clientCapabilities", discover, meta(`"io.modelcontextprotocol/protocolVersion":"2026-07-28"`), -32602},
		{"clientCapabilities a list", discover, meta(`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]`), -32602},
		{"unknown version", []string{v, "v999.0.0", "Mcp-Method", "server/discover"}, meta(`"io.modelcontextprotocol/protocolVersion":"v999.0.0","io.modelcontextprotocol/clientCapabilities":{}`), -32022},
		{"older version in _meta", []string{v, "2025-11-25", "Mcp-Method", "server/discover"}, meta(`"io.modelcontextprotocol/protocolVersion":"2025-11-25"`), -32022},
		{"unknown version without _meta", []string{v, "2027-01-01", "Mcp-Method", "server/discover"}, `{"jsonrpc":"2.0","id":7,"method":"server/discover"}`, -32022},

		{"no method header", []string{v, version}, call("tools/list", ""), -32020},
		{"method header differs", []string{v, version, "Mcp-Method", "prompts/list"}, call("tools/list", ""), -32020},
		{"method header in another case", []string{v, version, "Mcp-Method", "TOOLS/LIST"}, call("tools/list", ""), -32020},
		{"two method headers", []string{v, version, "Mcp-Method", "tools/list", "Mcp-Method", "tools/call"}, call("tools/list", ""), -32020},

		{"tool named", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "get"}, call("tools/call", `"name":"get"`), 0},
		{"tool not named in the header", []string{v, version, "Mcp-Method", "tools/call"}, call("tools/call", `"name":"get"`), -32020},
		{"another tool in the header", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "put"}, call("tools/call", `"name":"get"`), -32020},
		{"another case in the header", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "Get"}, call("tools/call", `"name":"get"`), -32020},
		{"no tool in the body", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "get"}, call("tools/call", ``), -32020},
		{"tool as a number", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "5"}, call("tools/call", `"name":5`), -32020},
		{"two names", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "get", "Mcp-Name", "put"}, call("tools/call", `"name":"get"`), -32020},
		{"prompt", []string{v, version, "Mcp-Method", "prompts/get", "Mcp-Name", "p"}, call("prompts/get", `"name":"p"`), 0},
		{"another prompt", []string{v, version, "Mcp-Method", "prompts/get", "Mcp-Name", "q"}, call("prompts/get", `"name":"p"`), -32020},
		{"resource by its uri", []string{v, version, "Mcp-Method", "resources/read", "Mcp-Name", "test://a b"}, call("resources/read", `"uri":"test://a b","name":"n"`), 0},
		{"resource by its name", []string{v, version, "Mcp-Method", "resources/read", "Mcp-Name", "n"}, call("resources/read", `"uri":"test://a","name":"n"`), -32020},
		{"task", []string{v, version, "Mcp-Method", "tasks/cancel", "Mcp-Name", "t1"}, call("tasks/cancel", `"taskId":"t1"`), 0},
		{"another task", []string{v, version, "Mcp-Method", "tasks/update", "Mcp-Name", "t2"}, call("tasks/update", `"taskId":"t1"`), -32020},
		{"task without a header", []string{v, version, "Mcp-Method", "tasks/get"}, call("tasks/get", `"taskId":"t1"`), -32020},

		{"name in base64", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", encoded}, call("tools/call", `"name":"`+unicodeName+`"`), 0},
		{"plain name in base64 all the same", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?SGVsbG8=?="}, call("tools/call", `"name":"Hello"`), 0},
		{"base64 without its end is itself", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?SGVsbG8="}, call("tools/call", `"name":"=?base64?SGVsbG8="`), 0},
		{"marker in capitals is itself", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "=?BASE64?SGVsbG8=?="}, call("tools/call", `"name":"Hello"`), -32020},
		{"base64 without padding", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?SGVsbG8?="}, call("tools/call", `"name":"Hello"`), -32020},
		{"base64 of strange letters", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?SGVs!!!bG8=?="}, call("tools/call", `"name":"Hello"`), -32020},
		{"base64 that isn't UTF-8", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?/w==?="}, call("tools/call", `"name":"\ufffd"`), -32020},
		{"name in raw UTF-8", []string{v, version, "Mcp-Method", "tools/call", "Mcp-Name", unicodeName}, call("tools/call", `"name":"`+unicodeName+`"`), -32020},
		{"control character in a param header", []string{v, version, "Mcp-Method", "tools/list", "Mcp-Param-X", "a\r\nb"}, call("tools/list", ""), -32020},

		{"notification without anything", []string{v, version}, `{"jsonrpc":"2.0","method":"notifications/cancelled"}`, 0},
		{"notification with its method", []string{v, version, "Mcp-Method", "notifications/x"}, `{"jsonrpc":"2.0","method":"notifications/x"}`, 0},
		{"notification with another method", []string{v, version, "Mcp-Method", "notifications/y"}, `{"jsonrpc":"2.0","method":"notifications/x"}`, -32020},
		{"notification of an unknown version", []string{v, "2099-01-01"}, `{"jsonrpc":"2.0","method":"notifications/x"}`, -32022},
		{"response", []string{v, version}, `{"jsonrpc":"2.0","id":1,"result":{}}`, -32600},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, e := headers(c.h...), scanned(t, c.body)
			if got := message.EraOf(h, []byte(c.body), e); got != message.Modern {
				t.Fatalf("era %v", got)
			}
			f := fault.As(message.Agree(h, []byte(c.body), e, message.Modern))
			switch {
			case f == nil && c.code != 0:
				t.Errorf("agreed, want %d", c.code)
			case f != nil && (f.JSONRPCCode() != c.code || f.HTTPStatus() != 400):
				t.Errorf("got %d, status %d: %v; want %d", f.JSONRPCCode(), f.HTTPStatus(), f, c.code)
			}
		})
	}
}

func TestUnsupportedVersionNamesWhatIs(t *testing.T) {
	body := meta(`"io.modelcontextprotocol/protocolVersion":"v9\"","io.modelcontextprotocol/clientCapabilities":{}`)
	h := headers("MCP-Protocol-Version", `v9"`, "Mcp-Method", "server/discover")
	for _, supported := range [][]string{nil, {"2026-07-28", "2025-11-25"}} {
		f := fault.As(message.Agree(h, []byte(body), scanned(t, body), message.Modern, supported...))
		if f == nil || f.JSONRPCCode() != -32022 {
			t.Fatalf("got %v", f)
		}
		var answer struct {
			ID    int
			Error struct {
				Data struct {
					Supported []string
					Requested string
				}
			}
		}
		if err := json.Unmarshal(f.AppendJSONRPC(nil, []byte("7"), fault.Place{}), &answer); err != nil {
			t.Fatal(err)
		}
		want := supported
		if want == nil {
			want = []string{"2026-07-28"}
		}
		if d := answer.Error.Data; answer.ID != 7 || !slices.Equal(d.Supported, want) || d.Requested != `v9"` {
			t.Errorf("data are %+v", d)
		}
	}
}

func TestVersionDataBoundsTheEcho(t *testing.T) {
	d := message.VersionData([]string{"a", "b"}, strings.Repeat("é", 10_000))
	if len(d) > 400 || !json.Valid([]byte("{"+d+"}")) {
		t.Errorf("%d bytes: %.100s", len(d), d)
	}
}

func TestLegacyVersionHeader(t *testing.T) {
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	for version, ok := range map[string]bool{
		"": true, "2024-11-05": true, "2025-03-26": true, "2025-06-18": true, "2025-11-25": true, " 2025-11-25 ": true, "2024-10-07": true,
		"2025-11-26": false, "1.0": false, "2026-07-28": false, "latest": false,
	} {
		h := headers("MCP-Protocol-Version", version, "Mcp-Session-Id", "s")
		if got := message.EraOf(h, []byte(body), scanned(t, body)); got != message.Legacy {
			t.Errorf("%q with a session is %v", version, got)
		}
		f := fault.As(message.Agree(h, []byte(body), scanned(t, body), message.Legacy))
		if (f == nil) != ok || f != nil && (f.HTTPStatus() != 400 || f.JSONRPCCode() != -32600 || !strings.Contains(f.Message, "Unsupported protocol version")) {
			t.Errorf("%q: %v, want ok=%v", version, f, ok)
		}
	}
	hello := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`
	if err := message.Agree(headers("MCP-Protocol-Version", "2026-07-28"), []byte(hello), scanned(t, hello), message.Legacy); err != nil {
		t.Errorf("initialize settles the version itself: %v", err)
	}
	if err := message.Agree(http.Header{}, []byte(body), scanned(t, body), message.Legacy); err != nil {
		t.Errorf("no header: %v", err)
	}
	if message.CheckRevision(headers("MCP-Protocol-Version", "2025-11-25", "MCP-Protocol-Version", "2025-06-18"), message.Legacy) == nil {
		t.Error("two version headers were accepted")
	}
	if err := message.CheckRevision(headers("MCP-Protocol-Version", "2026-07-28"), message.Modern); err != nil {
		t.Error(err)
	}
	if f := fault.As(message.CheckRevision(headers("MCP-Protocol-Version", "2099-01-01"), message.Modern)); f == nil || f.JSONRPCCode() != -32022 {
		t.Errorf("modern, unknown: %v", f)
	}
}

func TestEraOf(t *testing.T) {
	list := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	for _, c := range []struct {
		name string
		h    []string
		body string
		want message.Era
	}{
		{"curl", nil, list, message.Legacy},
		{"_meta", nil, call("tools/list", ""), message.Modern},
		{"_meta beats a session", []string{"Mcp-Session-Id", "s"}, call("tools/list", ""), message.Modern},
		{"_meta beats initialize", nil, call("initialize", ""), message.Modern},
		{"initialize", []string{"Mcp-Protocol-Version", "2026-07-28"}, `{"jsonrpc":"2.0","id":1,"method":"initialize"}`, message.Legacy},
		{"session beats the header", []string{"Mcp-Session-Id", "s", "Mcp-Protocol-Version", "2026-07-28"}, list, message.Legacy},
		{"empty session header", []string{"Mcp-Session-Id", "", "Mcp-Protocol-Version", "2026-07-28"}, list, message.Modern},
		{"modern header", []string{"Mcp-Protocol-Version", "2026-07-28"}, list, message.Modern},
		{"legacy header", []string{"Mcp-Protocol-Version", "2025-06-18"}, list, message.Legacy},
		{"header of the future", []string{"Mcp-Protocol-Version", "2031-01-01"}, list, message.Modern},
		{"header of no time", []string{"Mcp-Protocol-Version", "1.0"}, list, message.Legacy},
	} {
		if got := message.EraOf(headers(c.h...), []byte(c.body), scanned(t, c.body)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if message.EraOf(headers("Mcp-Protocol-Version", "2026-07-28"), nil, &message.Envelope{}) != message.Modern {
		t.Error("a GET with the modern header should be modern")
	}
}

func TestKnownRevisions(t *testing.T) {
	for _, r := range append(message.LegacyRevisions(), message.ModernRevisions()...) {
		if !message.Known(r) {
			t.Errorf("%s isn't known", r)
		}
	}
	if message.Known("2024-10-07") || message.Known("") {
		t.Error("a pre-release or nothing is known")
	}
}

func TestHeaderValuesSurviveTheTrip(t *testing.T) {
	for text, want := range map[string]string{
		"get_weather":          "get_weather",
		"a b":                  "a b",
		"":                     "",
		" a":                   "=?base64?IGE=?=",
		"a ":                   "=?base64?YSA=?=",
		"tab\t":                "=?base64?dGFiCQ==?=",
		"日本":                   "=?base64?5pel5pys?=",
		"=?base64?SGVsbG8=?=":  "=?base64?PT9iYXNlNjQ/U0dWc2JHOD0/PQ==?=",
		"=?base64?SGVsbG8=":    "=?base64?SGVsbG8=",
		"test://static/{id}/é": "=?base64?dGVzdDovL3N0YXRpYy97aWR9L8Op?=",
	} {
		got := string(message.AppendHeader(nil, text))
		back, ok := message.DecodeHeader(got)
		if got != want || !ok || back != text {
			t.Errorf("%q travels as %q (want %q) and comes back as %q %v", text, got, want, back, ok)
		}
	}
}

func TestAgreeDoesNotAllocate(t *testing.T) {
	body := []byte(modernCall)
	e := scanned(t, modernCall)
	h := headers("Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "get_weather")
	n := testing.AllocsPerRun(100, func() {
		if message.EraOf(h, body, e) != message.Modern || message.Agree(h, body, e, message.Modern) != nil {
			t.Error("refused")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzAgree: where Agree says yes, encoding/json and the headers say the same.
func FuzzAgree(f *testing.F) {
	f.Add([]byte(modernCall), "2026-07-28", "tools/call", "get_weather")
	f.Add([]byte(call("resources/read", `"uri":"é"`)), "2026-07-28", "resources/read", "=?base64?w6k=?=")
	f.Add([]byte(call("tasks/get", `"taskId":"=?base64?x"`)), "2026-07-28", "tasks/get", "=?base64?x")
	for _, s := range corpus {
		f.Add([]byte(s), "2026-07-28", "m", "")
	}
	f.Fuzz(func(t *testing.T, body []byte, version, method, name string) {
		var e message.Envelope
		if message.Scan(body, 64, &e) != nil {
			return
		}
		h := http.Header{"Mcp-Protocol-Version": {version}, "Mcp-Method": {method}, "Mcp-Name": {name}}
		if err := message.Agree(h, body, &e, message.Modern); err != nil {
			if f := fault.As(err); f == nil || f.HTTPStatus() != 400 {
				t.Fatalf("not a fault with status 400: %v", err)
			}
			return
		}
		root := object(t, body)
		params := object(t, root["params"])
		sameText(t, trim(method), root["method"], "method")
		if root["id"] != nil {
			sameText(t, trim(version), object(t, params["_meta"])["io.modelcontextprotocol/protocolVersion"], "protocolVersion")
		}
		member, ok := map[string]string{"tools/call": "name", "prompts/get": "name", "resources/read": "uri", "tasks/get": "taskId", "tasks/update": "taskId", "tasks/cancel": "taskId"}[trim(method)]
		if ok && root["id"] != nil {
			decoded, ok := message.DecodeHeader(trim(name))
			if !ok {
				t.Fatalf("agreed on a malformed name %q", name)
			}
			sameText(t, decoded, params[member], member)
		}
	})
}

func trim(s string) string { return strings.Trim(s, " \t") }

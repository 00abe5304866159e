package message_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name, data, id, outcome string
		answers                 bool
	}{
		{"result", `{"jsonrpc":"2.0","id":1,"result":{}}`, `1`, "ok", true},
		{"result first", `{"result":{"content":[{"type":"text","text":"\"id\":2"}]},"jsonrpc":"2.0","id":1}`, `1`, "ok", true},
		{"tool error", `{"jsonrpc":"2.0","id":"a","result":{"content":[],"isError":true}}`, `"a"`, "tool_error", true},
		{"no tool error", `{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":false}}`, `1`, "ok", true},
		{"isError deeper down", `{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"isError":true}}}`, `1`, "ok", true},
		{"error", `{"jsonrpc":"2.0","id":1,"error":{"message":"m","code":-32601}}`, `1`, "-32601", true},
		{"error without a code", `{"jsonrpc":"2.0","id":1,"error":{}}`, `1`, "0", true},
		{"input required", `{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}`, `1`, "ok", true},
		{"another id", `{"jsonrpc":"2.0","id":2,"result":{}}`, `1`, "", false},
		{"another type of id", `{"jsonrpc":"2.0","id":"1","result":{}}`, `1`, "", false},
		{"id spelled otherwise", `{"jsonrpc":"2.0","id":"a\/b\u0063","result":{}}`, `"a/bc"`, "ok", true},
		{"number spelled otherwise", `{"jsonrpc":"2.0","id":1.0,"result":{}}`, `1`, "ok", true},
		{"large numbers that floats confuse", `{"jsonrpc":"2.0","id":9007199254740993,"result":{}}`, `9007199254740992`, "", false},
		{"huge exponents", `{"jsonrpc":"2.0","id":1e999999999,"result":{}}`, `1e999999998`, "", false},
		{"error to nobody", `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`, `1`, "-32700", false},
		{"error to nobody, no id", `{"jsonrpc":"2.0","error":{"code":-32000,"message":"m"}}`, `1`, "-32000", false},
		{"error to another", `{"jsonrpc":"2.0","id":2,"error":{"code":-32700,"message":"m"}}`, `1`, "", false},
		{"notification", `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}`, `1`, "", false},
		{"request of the server", `{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}`, `1`, "", false},
		{"request with its method last", `{"jsonrpc":"2.0","id":1,"result":{},"method":"x"}`, `1`, "", false},
		{"no JSON", `<html>`, `1`, "", false},
		{"half", `{"jsonrpc":"2.0","id":1,"result":{}`, `1`, "", false},
		{"no id asked", `{"jsonrpc":"2.0","id":1,"result":{}}`, ``, "", false},
	} {
		answers, outcome := message.Answers([]byte(c.data), []byte(c.id))
		if answers != c.answers || outcome != c.outcome {
			t.Errorf("%s: %v %q, want %v %q", c.name, answers, outcome, c.answers, c.outcome)
		}
	}
}

func TestWordsAboutAnswers(t *testing.T) {
	for _, c := range []struct {
		data                       string
		response, isError, toolErr bool
	}{
		{`{"jsonrpc":"2.0","id":1,"result":{}}`, true, false, false},
		{`{"jsonrpc":"2.0","id":1,"result":{"isError":true}}`, true, false, true},
		{`{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":""}}`, true, true, false},
		{`{"error":"not found"}`, true, false, false},
		{`{"jsonrpc":"2.0","method":"x"}`, false, false, false},
		{`{"error":{"code":1},"result":{}}`, true, false, false},
		{`[]`, false, false, false},
		{``, false, false, false},
		{`{}`, false, false, false},
	} {
		b := []byte(c.data)
		if message.IsResponse(b) != c.response || message.IsError(b) != c.isError || message.ToolError(b) != c.toolErr {
			t.Errorf("%s: response %v, error %v, tool error %v", c.data, message.IsResponse(b), message.IsError(b), message.ToolError(b))
		}
	}
	for prefix, want := range map[string]bool{`{`: true, " \r\n{ ": true, `{"jsonrpc`: true, `{}`: true, `<html>`: false, ``: false, `{x`: false, `[`: false, `"`: false} {
		if message.MayBeMessage([]byte(prefix)) != want {
			t.Errorf("MayBeMessage(%q) is %v", prefix, !want)
		}
	}
}

func TestInitializeResult(t *testing.T) {
	for data, want := range map[string]string{
		`{"jsonrpc":"2.0","id":1,"result":{"capabilities":{},"protocolVersion":"2025-06-18"}}`: "2025-06-18",
		`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":5}}`:                              "",
		`{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"m"}}`:                       "",
		`oops`: "",
	} {
		if got, ok := message.InitializeResult([]byte(data)); got != want || ok != (want != "") {
			t.Errorf("%s: %q %v", data, got, ok)
		}
	}
}

func failure(code, data string) string {
	if data != "" {
		data = `,"data":` + data
	}
	return `{"jsonrpc":"2.0","id":1,"error":{"code":` + code + `,"message":"m"` + data + `}}`
}

func TestDiscoverAsEvidence(t *testing.T) {
	for _, c := range []struct {
		name       string
		status     int
		data       string
		modern, ok bool
	}{
		{"both eras", 200, `{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2025-11-25", "2026-07-28"],"capabilities":{}}}`, true, true},
		{"legacy only", 200, `{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2025-11-25"]}}`, false, true},
		{"nothing supported", 200, `{"jsonrpc":"2.0","id":1,"result":{"supportedVersions":[ ]}}`, false, true},
		{"another result", 200, `{"jsonrpc":"2.0","id":1,"result":{}}`, false, false},
		{"unsupported here", 400, failure("-32022", `{"supported":["2025-11-25"],"requested":"2026-07-28"}`), false, true},
		{"unsupported, yet listed", 400, failure("-32022", `{"supported":["2026-07-28"],"requested":"x"}`), true, true},
		{"header mismatch", 400, failure("-32020", ""), true, true},
		{"capability missing", 400, failure("-32021", ""), true, true},
		{"method unknown", 200, failure("-32601", ""), false, true},
		{"method unknown, the modern way", 404, failure("-32601", ""), true, true},
		{"not initialized", 400, failure("-32000", ""), false, true},
		{"bad request without words", 400, `Bad Request`, false, true},
		{"params refused", 400, failure("-32602", ""), false, false},
		{"internal error", 200, failure("-32603", ""), false, false},
		{"credential", 401, failure("-32601", ""), false, false},
		{"broken", 502, `<html>`, false, false},
		{"bare 404", 404, ``, false, false},
	} {
		if modern, ok := message.Discover(c.status, []byte(c.data)); modern != c.modern || ok != c.ok {
			t.Errorf("%s: %v %v, want %v %v", c.name, modern, ok, c.modern, c.ok)
		}
	}
}

func TestInitializeAsEvidence(t *testing.T) {
	for _, c := range []struct {
		name       string
		status     int
		data       string
		legacy, ok bool
	}{
		{"result", 200, `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25"}}`, true, true},
		{"modern only", 400, failure("-32022", `{"supported":["2026-07-28"],"requested":"2025-11-25"}`), false, true},
		{"other versions", 400, failure("-32022", `{"supported":["2026-07-28","2025-03-26"]}`), true, true},
		{"unsupported without a list", 400, failure("-32022", ""), false, false},
		{"framed as modern", 404, failure("-32601", ""), false, false},
		{"params refused", 200, failure("-32602", ""), false, false},
		{"credential", 401, "", false, false},
		{"broken", 503, failure("-32022", `{"supported":["2026-07-28"]}`), false, false},
	} {
		if legacy, ok := message.Initialized(c.status, []byte(c.data)); legacy != c.legacy || ok != c.ok {
			t.Errorf("%s: %v %v, want %v %v", c.name, legacy, ok, c.legacy, c.ok)
		}
	}
}

func TestWhatIsBuiltIsWhatIsScanned(t *testing.T) {
	hello := message.AppendInitialize([]byte("x"), `hop"gate/1.2/3`, message.Rev20251125)[1:]
	e := scanned(t, string(hello))
	if e.Kind != message.Request || e.MethodString(hello) != "initialize" || e.OfferString(hello) != "2025-11-25" || string(e.ID.Of(hello)) != "1" {
		t.Errorf("%s", hello)
	}
	if !strings.Contains(string(hello), `"clientInfo":{"name":"hop\"gate","version":"1.2/3"}`) || !json.Valid(hello) {
		t.Errorf("%s", hello)
	}
	note := message.AppendInitialized(nil)
	if e := scanned(t, string(note)); e.Kind != message.Notification || e.MethodString(note) != "notifications/initialized" {
		t.Errorf("%s", note)
	}
	for _, id := range []string{`"listen:0"`, `7`} {
		event := message.AppendListenEnd(nil, []byte(id))
		data, ok := message.Data(nil, event)
		if answers, outcome := message.Answers(data, []byte(id)); !ok || !answers || outcome != "ok" || !strings.HasSuffix(string(event), "\n\n") {
			t.Errorf("%s", event)
		}
		if !strings.Contains(string(data), `"io.modelcontextprotocol/subscriptionId":`+id) {
			t.Errorf("%s", data)
		}
	}
}

// FuzzAnswers: nothing an upstream sends makes these panic, and what answers is JSON at least up to its end.
func FuzzAnswers(f *testing.F) {
	for _, s := range corpus {
		f.Add([]byte(s), 200)
	}
	f.Add([]byte(failure("-32022", `{"supported":["2026-07-28", 5, [], "x"]}`)), 400)
	f.Add([]byte(`{"result":{"supportedVersions":[{}]}}`), 404)
	f.Fuzz(func(t *testing.T, data []byte, status int) {
		answers, outcome := message.Answers(data, []byte(`1`))
		if answers && (outcome == "" || !message.IsResponse(data)) {
			t.Fatalf("%q: %q", data, outcome)
		}
		message.Discover(status, data)
		message.Initialized(status, data)
		message.ToolError(data)
		message.IsError(data)
	})
}

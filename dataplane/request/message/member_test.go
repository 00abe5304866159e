package message_test

import (
	"encoding/json"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

func TestAMemberIsSetWhereItStands(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{`{}`, `{"mcp_info":1}`},
		{` { } `, ` {"mcp_info":1 } `},
		{`{"name":"a", "x": 1.50 }`, `{"name":"a", "x": 1.50,"mcp_info":1 }`},
		{`{"mcp_info":{"a":[2]},"name":"a"}`, `{"mcp_info":1,"name":"a"}`},
		{`{"name":"a", "mcp\u005finfo" : "x" , "y":{"mcp_info":2}}`, `{"name":"a", "mcp_info":1 , "y":{"mcp_info":2}}`},
		{`{"MCP_INFO":2,"y":{"mcp_info":2}}`, `{"MCP_INFO":2,"y":{"mcp_info":2},"mcp_info":1}`},
		{`{"a":"}"}`, `{"a":"}","mcp_info":1}`},
		{`[1]`, `[1]`},
	} {
		if got := string(message.SetMember([]byte("x"), []byte(c.raw), "mcp_info", []byte("1"))); got != "x"+c.want {
			t.Errorf("%s: %s", c.raw, got[1:])
		}
	}
}

func TestWhatStandsUnderNames(t *testing.T) {
	const data = ` {"result":{"tools":[{"_meta":{"a":1}}],"_meta":{"a":{"b": [2]},"c":3}}}`
	for _, c := range []struct {
		data, want string
		names      []string
	}{
		{data, `{"b": [2]}`, []string{"result", "_meta", "a"}},
		{data, "3", []string{"result", "_meta", "c"}},
		{data, "", []string{"result", "_meta", "d"}},
		{data, "", []string{"result", "tools", "a"}},
		{data, "", []string{"_meta"}},
		{`{"a":1,"\u0061":2}`, "", []string{"a"}},
		{`[]`, "", []string{"a"}},
		{``, "", []string{"a"}},
	} {
		if got := string(message.At([]byte(c.data), c.names...)); got != c.want {
			t.Errorf("%v: %q", c.names, got)
		}
	}
}

// FuzzSetMember: what is a JSON object stays one, with that member once, and the others as they were.
func FuzzSetMember(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"mcp_info":2}`, `{"mcp\u005finfo":{},"b":[]}`, `{"a":"}"} `, `[]`, `{"a":{"mcp_info":1}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var before map[string]json.RawMessage
		if json.Unmarshal([]byte(raw), &before) != nil || before == nil {
			return
		}
		got := message.SetMember(nil, []byte(raw), "mcp_info", []byte(`"ours"`))
		if string(got) == raw {
			return // nested too deeply for us
		}
		var after map[string]json.RawMessage
		if err := json.Unmarshal(got, &after); err != nil || string(after["mcp_info"]) != `"ours"` {
			t.Fatalf("%s: %s, %v", raw, got, err)
		}
		delete(before, "mcp_info")
		delete(after, "mcp_info")
		if len(before) != len(after) {
			t.Errorf("%s: %s", raw, got)
		}
	})
}

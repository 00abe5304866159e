package message_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestItems(t *testing.T) {
	for _, c := range []struct{ name, member, in, want string }{
		{"tools", "tools", `[{"name":"a"}, { "n\u0061me" : "\u0062" } ]`, `a={"name":"a"}|b={ "n\u0061me" : "\u0062" }`},
		{"prompts", "prompts", `[{"name":"a","uri":"u"}]`, `a={"name":"a","uri":"u"}`},
		{"resources", "resources", `[{"name":"a","uri":"file:\/\/u"}]`, `file://u={"name":"a","uri":"file:\/\/u"}`},
		{"templates", "resourceTemplates", `[{"uri":"no","uriTemplate":"f://{x}"}]`, `f://{x}={"uri":"no","uriTemplate":"f://{x}"}`},
		{"the same name twice in the list", "tools", `[{"name":"a"},{"name":"a","x":1}]`, `a={"name":"a"}|a={"name":"a","x":1}`},
		{"two names", "tools", `[{"name":"a","name":"x"},{"name":"b"}]`, `b={"name":"b"}`},
		{"two names in disguise", "tools", `[{"name":"a","n\u0061me":"x","d":[{}]},{"name":"b"}]`, `b={"name":"b"}`},
		{"two descriptions", "tools", `[{"name":"a","description":"","description":"x"},{"name":"b"}]`, `b={"name":"b"}`},
		{"no name, no string, empty", "tools", `[{"title":"a"},{"name":1},{"name":""},{"name":"b"}]`, `b={"name":"b"}`},
		{"half a character", "tools", `[{"name":"\ud800"},{"\ud800":1,"name":"a"},{"name":"b"}]`, `b={"name":"b"}`},
		{"no objects", "tools", `[1,"a",null,["a"],{"name":"b"}]`, `b={"name":"b"}`},
		{"empty", "tools", `[ ]`, ``},
		{"null", "tools", `null`, ``},
		{"no such member", "x\":1,\"prompts", `[{"name":"a"}]`, ``},
	} {
		l, err := message.Items([]byte(`{"jsonrpc":"2.0","id":1,"result":{"`+c.member+`":`+c.in+`,"z":9007199254740993}}`), c.member)
		var got []string
		for _, i := range l.Items {
			got = append(got, i.Name+"="+string(i.Raw))
		}
		if s := strings.Join(got, "|"); err != nil || s != c.want {
			t.Errorf("%s: %s (%v), want %s", c.name, s, err, c.want)
		}
	}
}

func TestItemsReadsHintsOfTools(t *testing.T) {
	for in, want := range map[string][2]bool{
		``:   {},
		`{}`: {}, `null`: {}, `"x"`: {},
		`{"readOnlyHint":true,"idempotentHint":true}`:   {true, true},
		`{"readOnlyHint":true,"idempotentHint":false}`:  {true, false},
		`{"readOnlyHint":"true","idempotentHint":1}`:    {},
		`{"readOnlyHint":true,"readOnlyHint":true}`:     {},
		`{"re\u0061dOnlyHint":true}`:                    {true, false},
		`{"ReadOnlyHint":true,"idempotentHint": true }`: {false, true},
	} {
		if in != "" {
			in = `,"annotations":` + in
		}
		l, err := message.Items([]byte(`{"id":1,"result":{"tools":[{"name":"a"`+in+`}]}}`), "tools")
		if err != nil || len(l.Items) != 1 || l.Items[0].ReadOnly != want[0] || l.Items[0].Idempotent != want[1] {
			t.Errorf("%s: %+v (%v)", in, l, err)
		}
	}
}

func TestItemsReadsThePage(t *testing.T) {
	for _, c := range []struct {
		in   string
		want message.Listed
	}{
		{`"x":1`, message.Listed{}},
		{`"nextCursor":"a\u0062","ttlMs":1500,"cacheScope":"private"`, message.Listed{Next: "ab", TTL: 1500 * time.Millisecond, HasTTL: true, Private: true}},
		{`"nextCursor":null,"ttlMs":0,"cacheScope":"public"`, message.Listed{HasTTL: true}},
		{`"nextCursor":5,"ttlMs":"1","cacheScope":null`, message.Listed{}},
		{`"ttlMs":-5`, message.Listed{HasTTL: true}},
		{`"ttlMs":1e400`, message.Listed{TTL: 24 * time.Hour, HasTTL: true}},
		{`"ttlMs":9007199254740993`, message.Listed{TTL: 24 * time.Hour, HasTTL: true}},
		{`"ttlMs":0.5`, message.Listed{TTL: 500 * time.Microsecond, HasTTL: true}},
	} {
		l, err := message.Items([]byte(`{"id":1,"result":{`+c.in+`,"tools":[]}}`), "tools")
		if err != nil || l.Next != c.want.Next || l.TTL != c.want.TTL || l.HasTTL != c.want.HasTTL || l.Private != c.want.Private {
			t.Errorf("%s: %+v (%v)", c.in, l, err)
		}
	}
}

func TestItemsRefusals(t *testing.T) {
	for _, c := range []struct {
		name, in string
		kind     fault.Kind
		remote   bool
	}{
		{"no JSON", `{"result":{"tools":[]}`, fault.Malformed, false},
		{"something behind", `{"result":{"tools":[]}}{}`, fault.Malformed, false},
		{"half a cursor", `{"result":{"nextCursor":"a`, fault.Malformed, false},
		{"half a number", `{"result":{"ttlMs":-`, fault.Malformed, false},
		{"half a name", `{"result":{"tools":[{"name":"a`, fault.Malformed, false},
		{"nothing", ``, fault.Malformed, false},
		{"a list", `[{"result":{"tools":[]}}]`, fault.Malformed, false},
		{"no response", `{"id":1,"method":"m"}`, fault.Malformed, false},
		{"result twice", `{"result":{},"r\u0065sult":{"tools":[]}}`, fault.Malformed, false},
		{"tools twice", `{"result":{"tools":[],"tools":[]}}`, fault.Malformed, false},
		{"cursor twice", `{"result":{"tools":[],"nextCursor":"a","nextCursor":"b"}}`, fault.Malformed, false},
		{"no list", `{"result":{"tools":{"name":"a"}}}`, fault.Malformed, false},
		{"no result", `{"result":"tools"}`, fault.Malformed, false},
		{"too deep", `{"result":{"tools":[` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `]}}`, fault.Malformed, false},
		{"an error", `{"id":1,"error":{"code":-32603,"message":"secret"}}`, fault.Refused, true},
		{"an error without a code", `{"id":1,"error":null}`, fault.Refused, true},
		{"an unknown method", `{"id":1,"error":{"code":-32601,"message":"secret"}}`, fault.Unsupported, true},
	} {
		l, err := message.Items([]byte(c.in), "tools")
		f := fault.As(err)
		if f == nil || len(l.Items) > 0 || f.Hop != fault.Upstream || f.Phase != fault.Protocol || f.Kind != c.kind || f.Remote != c.remote {
			t.Errorf("%s: %v, %v", c.name, l, err)
		}
		if f != nil && strings.Contains(f.Error(), "secret") {
			t.Errorf("%s: the server's words are passed on: %v", c.name, f)
		}
	}
}

// FuzzItems: each element is one that encoding/json reads, under its name, and can be shown under another.
func FuzzItems(f *testing.F) {
	f.Add([]byte(`{"id":1,"result":{"tools":[{"name":"a","description":"d","inputSchema":{"properties":{"x":1},"required":["x"]}}],"nextCursor":"n"}}`), "tools")
	f.Add([]byte(`{"result":{"resources":[{"uri":"u","_meta":{"ui":{"resourceUri":"ui:\/\/x"}}},{"uri":"u","uri":"v"}],"ttlMs":1}}`), "resources")
	f.Add([]byte(`{"result":{"resourceTemplates":[{"uriTemplate":"\u0075"},{}]}}`), "resourceTemplates")
	f.Add([]byte(`{"error":{"code":-1}}`), "prompts")
	f.Fuzz(func(t *testing.T, data []byte, member string) {
		l, err := message.Items(data, member)
		if err != nil {
			return
		}
		subject := map[string]string{"resources": "uri", "resourceTemplates": "uriTemplate"}[member]
		if subject == "" {
			subject = "name"
		}
		if !json.Valid(data) {
			t.Fatalf("accepted, but not JSON: %q", data)
		}
		v := message.View{Name: "shown", Description: "d", Parameters: []string{"x"}}
		for _, i := range l.Items {
			if m := decoded(t, i.Raw).(map[string]any); m[subject] != i.Name {
				t.Fatalf("%q is called %q", i.Raw, i.Name)
			}
			out := message.AppendItem(nil, i.Raw, v, func(uri string) string { return "w+" + uri })
			if m := decoded(t, out).(map[string]any); subject == "name" && m["name"] != "shown" || subject != "name" && m[subject] != "w+"+i.Name {
				t.Fatalf("%q is shown as %q", i.Raw, out)
			}
		}
	})
}

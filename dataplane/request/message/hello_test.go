package message_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

func TestReadInitialize(t *testing.T) {
	data := `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true},"n":9007199254740993},"serverInfo":{"name":"s","version":"1"},"instr\u0075ctions":"do\n","x":1}}`
	h, ok := message.ReadInitialize([]byte(data))
	if !ok || h.Revision != "2025-06-18" || h.Instructions != "do\n" ||
		string(h.Capabilities) != `{"tools":{"listChanged":true},"n":9007199254740993}` || string(h.ServerInfo) != `{"name":"s","version":"1"}` {
		t.Errorf("%+v %v", h, ok)
	}
	for _, data := range []string{
		`{"id":1,"result":{}}`, `{"id":1,"result":{"protocolVersion":5}}`, `{"id":1,"error":{"code":1}}`, `{"id":1,"result":{"protocolVersion":"a"}`, ``, `[]`,
		`{"id":1,"method":"m","result":{"protocolVersion":"a"}}`, `{"id":1,"result":{"protocolVersion":"a","protocolVersion":"b"}}`,
		`{"id":1,"result":{"protocolVersion":"a"},"result":{"protocolVersion":"a"}}`,
	} {
		if h, ok := message.ReadInitialize([]byte(data)); ok {
			t.Errorf("%s: %+v", data, h)
		}
	}
	if h, ok := message.ReadInitialize([]byte(`{"result":{"protocolVersion":"a","capabilities":[],"serverInfo":null,"instructions":1}}`)); !ok ||
		h.Capabilities != nil || h.ServerInfo != nil {
		t.Errorf("%+v %v", h, ok)
	}
}

func TestReadDiscover(t *testing.T) {
	data := `{"id":1,"result":{"supportedVersions":["2027-01-01",5,"2026-07-28","2025-11-25"],"capabilities":{"tools":{}},"instructions":"i","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}}`
	h, ok := message.ReadDiscover([]byte(data))
	if !ok || h.Revision != "2026-07-28" || !slices.Equal(h.Versions, []string{"2027-01-01", "2026-07-28", "2025-11-25"}) || h.Instructions != "i" ||
		string(h.Capabilities) != `{"tools":{}}` || string(h.ServerInfo) != `{"name":"s"}` {
		t.Errorf("%+v %v", h, ok)
	}
	if h, ok := message.ReadDiscover([]byte(`{"id":1,"result":{"supportedVersions":[` + strings.Repeat(`"x",`, 1000) + `"y"]}}`)); !ok || len(h.Versions) != 32 || h.Revision != "" {
		t.Errorf("%d versions, %v", len(h.Versions), ok)
	}
	for _, data := range []string{`{"id":1,"result":{}}`, `{"id":1,"result":{"supportedVersions":"2026-07-28"}}`, `{"id":1,"error":{"data":{"supportedVersions":[]}}}`, `{`} {
		if h, ok := message.ReadDiscover([]byte(data)); ok {
			t.Errorf("%s: %+v", data, h)
		}
	}
}

func TestClientOf(t *testing.T) {
	for _, c := range []struct{ in, capabilities, info string }{
		{`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"clientInfo":{"name":"x"},"cap\u0061bilities":{"roots":{}},"_meta":{}}}`, `{"roots":{}}`, `{"name":"x"}`},
		{`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":null}}`, ``, ``},
		{`{"jsonrpc":"2.0","id":1,"method":"initialize"}`, ``, ``},
		{modernCall, `{}`, `{"name":"c","version":"1"}`},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"capabilities":{"roots":{}}}}`, ``, ``},
	} {
		capabilities, info := message.ClientOf([]byte(c.in), scanned(t, c.in))
		if string(capabilities) != c.capabilities || string(info) != c.info {
			t.Errorf("%s: %s, %s", c.in, capabilities, info)
		}
	}
}

func TestAppendHandshake(t *testing.T) {
	got := string(message.AppendHandshake([]byte("kept "), []byte(`"a"`), "2025-11-25", []byte(`{"roots":{}}`), []byte(`{"name":"c"}`), "hopgate/1"))
	if want := `kept {"jsonrpc":"2.0","id":"a","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"roots":{}},"clientInfo":{"name":"c"}}}`; got != want {
		t.Errorf("got %s", got)
	}
	got = string(message.AppendHandshake(nil, []byte("1"), "2025-11-25", nil, nil, "hopgate/1"))
	if want := string(message.AppendInitialize(nil, "hopgate/1", "2025-11-25")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMergeCapabilities(t *testing.T) {
	for _, c := range []struct {
		name string
		list []string
		want string
	}{
		{"none", nil, `{}`},
		{"one, as it is", []string{` {"tools":{ "listChanged":true },"experimental":{"n":9007199254740993,"m":1.10}}`}, `{"tools":{"listChanged":true},"experimental":{"n":9007199254740993,"m":1.10}}`},
		{"flags are or'ed", []string{`{"tools":{"listChanged":false},"resources":{"subscribe":true}}`, `{"resources":{"listChanged":true,"subscribe":false},"tools":{"listChanged":true},"logging":{}}`},
			`{"tools":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"logging":{}}`},
		{"an offer beats none", []string{`{"logging":null,"prompts":false}`, `{"logging":{},"prompts":{"listChanged":true}}`}, `{"logging":{},"prompts":{"listChanged":true}}`},
		{"the first counts", []string{`{"experimental":{"a":1,"b":[1]}}`, `{"experimental":{"a":2,"b":{},"c":3}}`}, `{"experimental":{"a":1,"b":[1],"c":3}}`},
		{"without tasks", []string{`{"tasks":{"list":{}},"tools":{}}`, `{"t\u0061sks":{},"extensions":{"io.modelcontextprotocol\/tasks":{},"x/tasks":{}}}`}, `{"tools":{},"extensions":{"x/tasks":{}}}`},
		{"what is no object", []string{`[]`, ``, `null`, `{"a":1}x`, `{"a":1,"a":2}`, `{"tools":{"a":1,"a":2}}`, `{"b":1}`}, `{"b":1}`},
		{"names with quotes", []string{`{"a\"b":{"\u00e9":1}}`, `{"a\u0022b":{"é":2}}`}, `{"a\"b":{"é":1}}`},
		{"deep", []string{strings.Repeat(`{"a":`, 9) + `{"b":false}` + strings.Repeat(`}`, 9), strings.Repeat(`{"a":`, 9) + `{"b":true}` + strings.Repeat(`}`, 9)}, strings.Repeat(`{"a":`, 9) + `{"b":false}` + strings.Repeat(`}`, 9)},
	} {
		var list [][]byte
		for _, s := range c.list {
			list = append(list, []byte(s))
		}
		if got := message.MergeCapabilities([]byte("kept "), list); string(got) != "kept "+c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func FuzzMergeCapabilities(f *testing.F) {
	f.Add([]byte(`{"tools":{"listChanged":true}}`), []byte(`{"tasks":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		got := message.MergeCapabilities(nil, [][]byte{a, b})
		m, is := decoded(t, got).(map[string]any)
		if _, tasks := m["tasks"]; !json.Valid(got) || !is || tasks {
			t.Fatalf("%q and %q became %q", a, b, got)
		}
		if again := message.MergeCapabilities(nil, [][]byte{got, got}); string(again) != string(got) {
			t.Fatalf("%q became %q", got, again)
		}
	})
}

func TestIsServerRequest(t *testing.T) {
	for _, c := range []struct{ in, id, method, named string }{
		{`{"jsonrpc":"2.0","id":9007199254740993,"method":"sampling\/createMessage","params":{"id":1}}`, `9007199254740993`, "sampling/createMessage", "sampling/createMessage"},
		{` {"m\u0065thod":"x/y","i\u0064":"\u0061"} `, `"\u0061"`, "x/y", "x/y"},
		{`{"method":"notifications/message"}`, ``, "", "notifications/message"},
		{`{"id":null,"method":"ping"}`, ``, "", "ping"},
		{`{"id":1,"method":"ping","result":{}}`, ``, "", "ping"},
		{`{"id":1,"result":{"method":"m"}}`, ``, "", ""},
		{`{"id":1,"method":5}`, ``, "", ""}, {`{"id":1,"method":"a","method":"b"}`, ``, "", ""}, {`{"id":1,"id":2,"method":"a"}`, ``, "", ""},
		{`[{"id":1,"method":"a"}]`, ``, "", ""}, {`{"id":1,"method":"a"`, ``, "", ""}, {``, ``, "", ""},
	} {
		id, method, ok := message.IsServerRequest([]byte(c.in))
		if string(id) != c.id || method != c.method || ok != (c.id != "") {
			t.Errorf("%s: %s %q %v", c.in, id, method, ok)
		}
		if got := message.Method([]byte(c.in)); got != c.named {
			t.Errorf("%s: method %q, want %q", c.in, got, c.named)
		}
	}
}

// Red when names are looked through one by one (it takes half a minute then), or what a server says isn't bounded.
func TestCapabilitiesOfHostileServersAreMergedInTime(t *testing.T) {
	list := make([][]byte, 32)
	for i := range list {
		var b strings.Builder
		for j := 0; b.Len() < 63<<10; j++ {
			fmt.Fprintf(&b, `,"%d-%d":1`, i, j)
		}
		list[i] = []byte("{" + b.String()[1:] + "}")
	}
	began := time.Now()
	got := message.MergeCapabilities(nil, list)
	if took := time.Since(began); took > 5*time.Second || !json.Valid(got) || !strings.Contains(string(got), `"31-10":1`) {
		t.Errorf("%d bytes after %v", len(got), took)
	}
	long := `{"tools":{},"x":"` + strings.Repeat("x", 64<<10) + `"}`
	if got := message.MergeCapabilities(nil, [][]byte{[]byte(long), []byte(`{"prompts":{}}`)}); string(got) != `{"prompts":{}}` {
		t.Errorf("%d bytes", len(got))
	}
}

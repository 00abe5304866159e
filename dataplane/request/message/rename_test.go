package message_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

// decoded is what encoding/json reads, numbers as they are spelled.
func decoded(t testing.TB, raw []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("not JSON: %q: %v", raw, err)
	}
	return v
}

func TestEditsOfOneValue(t *testing.T) {
	type edit = func(dst, body []byte, e *message.Envelope, text string) []byte
	const head = `{"jsonrpc":"2.0","id":9007199254740993,"method":"m"`
	for _, c := range []struct {
		name     string
		edit     edit
		in, text string
		want     string
	}{
		{"name", message.Rename, `,"params":{"n":1.10, "name" : "a-b" ,"arguments":{"name":"a-b"}}`, "b", `,"params":{"n":1.10, "name" : "b" ,"arguments":{"name":"a-b"}}`},
		{"name in disguise", message.Rename, `,"params":{"n\u0061me":"\u0061-b"}`, "b\"é", `,"params":{"n\u0061me":"b\"é"}`},
		{"the same name, spelled otherwise", message.Rename, `,"params":{"name":"\u0061"}`, "a", `,"params":{"name":"\u0061"}`},
		{"no name", message.Rename, `,"params":{"uri":"a"}`, "b", `,"params":{"uri":"a"}`},
		{"a name that is no string", message.Rename, `,"params":{"name":["a"]}`, "b", `,"params":{"name":["a"]}`},
		{"uri", message.Readdress, `,"params":{"uri":"x+file:\/\/a","name":"n"}`, "file://a", `,"params":{"uri":"file://a","name":"n"}`},
		{"ref of a prompt", message.ReplaceRef, `,"params":{"ref":{"type":"ref\/prompt","name":"a","uri":"u"},"name":"n"}`, "b", `,"params":{"ref":{"type":"ref\/prompt","name":"b","uri":"u"},"name":"n"}`},
		{"ref of a resource", message.ReplaceRef, `,"params":{"ref":{"uri":"u","type":"ref/resource","name":"a"}}`, "b", `,"params":{"ref":{"uri":"b","type":"ref/resource","name":"a"}}`},
		{"ref of another type", message.ReplaceRef, `,"params":{"ref":{"uri":"u","type":"ref/new","name":"a"}}`, "b", `,"params":{"ref":{"uri":"u","type":"ref/new","name":"a"}}`},
		{"no ref", message.ReplaceRef, `,"params":{"ref":"ref/prompt"}`, "b", `,"params":{"ref":"ref/prompt"}`},
		{"cursor", message.ReplaceCursor, `,"params":{"cursor":"a","x":1}`, "b", `,"params":{"cursor":"b","x":1}`},
		{"cursor made", message.ReplaceCursor, `,"params":{ "x":1}`, "b", `,"params":{"cursor":"b", "x":1}`},
		{"cursor made in empty params", message.ReplaceCursor, `,"params":{ }`, "b", `,"params":{"cursor":"b" }`},
		{"cursor made with params", message.ReplaceCursor, ``, "b", `,"params":{"cursor":"b"}`},
		{"cursor dropped", message.ReplaceCursor, `,"params":{"cursor":"a"}`, "", `,"params":{}`},
		{"cursor dropped in front", message.ReplaceCursor, `,"params":{ "cursor" : "a" , "x":1}`, "", `,"params":{ "x":1}`},
		{"cursor dropped at the end", message.ReplaceCursor, `,"params":{"x":1 , "c\u0075rsor":"a" }`, "", `,"params":{"x":1  }`},
		{"cursor dropped in the middle", message.ReplaceCursor, `,"params":{"x":1,"cursor":null,"y":2}`, "", `,"params":{"x":1,"y":2}`},
		{"no cursor to drop", message.ReplaceCursor, `,"params":{"x":1}`, "", `,"params":{"x":1}`},
		{"a cursor in params that are a list", message.ReplaceCursor, `,"params":["cursor"]`, "b", `,"params":["cursor"]`},
		{"a cursor that is no string", message.ReplaceCursor, `,"params":{"cursor":{"a":[1]}}`, "b", `,"params":{"cursor":"b"}`},
	} {
		body := head + c.in + `,"x-new":{"z":1,"a":9007199254740993}}`
		got := c.edit([]byte("kept "), []byte(body), scanned(t, body), c.text)
		if want := "kept " + head + c.want + `,"x-new":{"z":1,"a":9007199254740993}}`; string(got) != want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, want)
		}
	}
}

func TestReplaceID(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"jsonrpc":"2.0","id":1,"result":{"id":1}}`, `{"jsonrpc":"2.0","id":"s",` + `"result":{"id":1}}`},
		{` {"params":{"id":2}, "i\u0064" : 9007199254740993 }` + "\n", ` {"params":{"id":2}, "i\u0064" : "s" }` + "\n"},
		{`{"id":null}`, `{"id":"s"}`},
		{`{"method":"m"}`, ``}, {`{"id":1,"id":2}`, ``}, {`{"id":1,"i\u0064":2}`, ``}, {`{"id":1}{}`, ``}, {`[{"id":1}]`, ``}, {`{"id":1`, ``}, {``, ``},
	} {
		got, ok := message.ReplaceID([]byte("kept "), []byte(c.in), []byte(`"s"`))
		if string(got) != "kept "+c.want || ok != (c.want != "") {
			t.Errorf("%s: %s %v", c.in, got, ok)
		}
	}
}

func TestEditsDoNotAllocateIntoRoom(t *testing.T) {
	body := []byte(modernCall)
	e := scanned(t, modernCall)
	room := make([]byte, 0, 4096)
	n := testing.AllocsPerRun(100, func() {
		room = message.Rename(room[:0], body, e, "weather")
		room = message.ReplaceCursor(room[:0], body, e, "")
		room, _ = message.ReplaceID(room[:0], body, []byte("8"))
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzEdits: editing the bytes is editing what encoding/json reads.
func FuzzEdits(f *testing.F) {
	for _, s := range corpus {
		f.Add([]byte(s), "a\"é\x00")
		f.Add([]byte(s), "")
	}
	f.Fuzz(func(t *testing.T, body []byte, text string) {
		var e message.Envelope
		if message.Scan(body, 64, &e) != nil || e.Kind == message.Batch {
			return
		}
		text = strings.ToValidUTF8(text, "?")
		check := func(what string, got []byte, edit func(root, params map[string]any)) {
			want := decoded(t, body).(map[string]any)
			params, _ := want["params"].(map[string]any)
			edit(want, params)
			if is := decoded(t, got); !reflect.DeepEqual(is, any(want)) {
				t.Fatalf("%s: %q became %q", what, body, got)
			}
		}
		check("name", message.Rename(nil, body, &e, text), func(_, params map[string]any) { put(params, "name", text) })
		check("uri", message.Readdress(nil, body, &e, text), func(_, params map[string]any) { put(params, "uri", text) })
		check("ref", message.ReplaceRef(nil, body, &e, text), func(_, params map[string]any) {
			ref, _ := params["ref"].(map[string]any)
			switch ref["type"] {
			case "ref/prompt":
				put(ref, "name", text)
			case "ref/resource":
				put(ref, "uri", text)
			}
		})
		check("cursor", message.ReplaceCursor(nil, body, &e, text), func(root, params map[string]any) {
			switch {
			case text == "":
				delete(params, "cursor")
			case e.Cursor.Present() || params != nil && e.Kind == message.Request:
				params["cursor"] = text
			case e.Kind == message.Request && !e.Params.Present():
				root["params"] = map[string]any{"cursor": text}
			}
		})
		if got, ok := message.ReplaceID(nil, body, []byte("8.0")); ok {
			check("id", got, func(root, _ map[string]any) { root["id"] = json.Number("8.0") })
		}
	})
}

// put replaces a string that is there.
func put(m map[string]any, name, text string) {
	if _, is := m[name].(string); is {
		m[name] = text
	}
}

package message_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestWrapURIs(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{ // an empty want: the same
		{"resource link", `"result":{"content":[{"type":"text","text":"uri"},{"uri":"f://a","type":"resource_link","name":"uri"}]}`, `"result":{"content":[{"type":"text","text":"uri"},{"uri":"s+f://a","type":"resource_link","name":"uri"}]}`},
		{"embedded resource", `"result":{"content":[ {"resource" : {"text":"t", "uri" : "f:\/\/a" },"type":"resource"} ]}`, `"result":{"content":[ {"resource" : {"text":"t", "uri" : "s+f://a" },"type":"resource"} ]}`},
		{"a link with a resource, a resource with a link", `"result":{"content":[{"type":"resource_link","uri":"a","resource":{"uri":"b"}},{"type":"resource","uri":"a","resource":{"uri":"b"}}]}`,
			`"result":{"content":[{"type":"resource_link","uri":"s+a","resource":{"uri":"b"}},{"type":"resource","uri":"a","resource":{"uri":"s+b"}}]}`},
		{"other content", `"result":{"content":[{"type":"new","uri":"a","resource":{"uri":"b"}},{"uri":"a"},"uri",["uri"]],"structuredContent":{"uri":"a"},"uri":"a"}`, ``},
		{"prompt", `"result":{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"a"}}},{"content":[{"type":"resource_link","uri":"b"}]},{"content":"uri"}]}`,
			`"result":{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"s+a"}}},{"content":[{"type":"resource_link","uri":"s+b"}]},{"content":"uri"}]}`},
		{"contents of resources", `"result":{"contents":[{"uri":"a","text":"{\"uri\":\"x\"}"},{"uri":"b","_meta":{"uri":"c"}}]}`, `"result":{"contents":[{"uri":"s+a","text":"{\"uri\":\"x\"}"},{"uri":"s+b","_meta":{"uri":"c"}}]}`},
		{"user interface", `"result":{"_meta":{"resourceUri":"no","ui":{"resourceUri":"ui://a","uri":"no"},"ui/resourceUri":"ui://b"}}`, `"result":{"_meta":{"resourceUri":"no","ui":{"resourceUri":"s+ui://a","uri":"no"},"ui/resourceUri":"s+ui://b"}}`},
		{"user interface of content", `"result":{"content":[{"_meta":{"ui":{"resourceUri":"ui://a"}},"uri":"a","type":"resource_link"}]}`, `"result":{"content":[{"_meta":{"ui":{"resourceUri":"s+ui://a"}},"uri":"s+a","type":"resource_link"}]}`},
		{"updated", `"params":{"uri":"f://a","title":"t"},"method":"notifications/resources/updated"`, `"params":{"uri":"s+f://a","title":"t"},"method":"notifications/resources/updated"`},
		{"updated, in disguise", `"params":{"\u0075ri":"f://a"},"method":"notifications\/resources\/updated"`, `"params":{"\u0075ri":"s+f://a"},"method":"notifications\/resources\/updated"`},
		{"another notification", `"params":{"uri":"f://a"},"method":"notifications/message"`, ``},
		{"all names in disguise", `"r\u0065sult":{"cont\u0065nt":[{"typ\u0065":"resource\u005flink","\u0075\u0072\u0069":"a"}],"\u005fmeta":{"\u0075\u0069":{"resource\u0055r\u0069":"b"}}}`,
			`"r\u0065sult":{"cont\u0065nt":[{"typ\u0065":"resource\u005flink","\u0075\u0072\u0069":"s+a"}],"\u005fmeta":{"\u0075\u0069":{"resource\u0055r\u0069":"s+b"}}}`},
		{"uris that are none", `"result":{"content":[{"type":"resource_link","uri":1},{"type":"resource","resource":"uri"}],"contents":[{"uri":["a"]}],"_meta":{"ui":"uri"}}`, ``},
		{"half a character", `"result":{"contents":[{"uri":"\ud800"}]}`, ``},
		{"an error", `"error":{"data":{"content":[{"type":"resource_link","uri":"a"}]}}`, ``},
		{"a list", `"result":{"resources":[{"uri":"a"}]}`, ``},
	} {
		head, tail := `{"jsonrpc":"2.0", "id":9007199254740993 ,`, `,"x-new":{"uri":"x","uri":1.10}}`+"\n"
		if c.want == "" {
			c.want = c.in
		}
		got, changed, err := message.WrapURIs([]byte("kept "), []byte(head+c.in+tail), mark)
		if want := "kept " + head + c.want + tail; err != nil || string(got) != want || changed != (c.want != c.in) {
			t.Errorf("%s:\n got %s %v (%v)\nwant %s", c.name, got, changed, err, want)
		}
	}
}

func TestWrapURIsInBatches(t *testing.T) {
	body := `[{"id":1,"result":{"contents":[{"uri":"a"}]}}, {"method":"notifications/resources/updated","params":{"uri":"b"}},1]`
	want := `[{"id":1,"result":{"contents":[{"uri":"s+a"}]}}, {"method":"notifications/resources/updated","params":{"uri":"s+b"}},1]`
	if got, changed, err := message.WrapURIs(nil, []byte(body), mark); err != nil || !changed || string(got) != want {
		t.Errorf("got %s %v (%v)", got, changed, err)
	}
}

func TestWrapURIsRefusesWhatParsersReadDifferently(t *testing.T) {
	for name, body := range map[string]string{
		"result twice":       `{"result":{},"result":{"contents":[{"uri":"a"}]}}`,
		"content twice":      `{"result":{"content":[],"c\u006fntent":[{"type":"resource_link","uri":"a"}]}}`,
		"uri twice":          `{"result":{"contents":[{"uri":"a","uri":"b"}]}}`,
		"uri twice, hidden":  `{"result":{"contents":[{"uri":"a","\u0075ri":"b"}]}}`,
		"type twice":         `{"result":{"content":[{"type":"text","uri":"a","type":"resource_link"}]}}`,
		"embedded uri twice": `{"result":{"content":[{"type":"resource","resource":{"uri":"a","uri":"b"}}]}}`,
		"link twice":         `{"result":{"_meta":{"ui":{"resourceUri":"a","resourceUri":"b"}}}}`,
		"no JSON":            `{"result":{"contents":[{"uri":"a"}]}`,
		"something behind":   `{"result":{"contents":[{"uri":"a"}]}} x`,
		"half a method":      ` {"method":"uri0`,
		"half a URI":         `{"result":{"contents":[{"uri":"a`,
		"too deep":           `{"uri":` + strings.Repeat("[", 1024) + strings.Repeat("]", 1024) + `}`,
	} {
		got, changed, err := message.WrapURIs([]byte("kept"), []byte(body), mark)
		if f := fault.As(err); f == nil || f.Hop != fault.Upstream || f.Kind != fault.Malformed || changed || string(got) != "kept" {
			t.Errorf("%s: %s %v", name, got, err)
		}
	}
}

func TestWrapURIsDoesNotAllocateWhereNoneIs(t *testing.T) {
	body := []byte(`{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\u00e9 uri"}],"isError":false}}`)
	room := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { room, _, _ = message.WrapURIs(room[:0], body, mark) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// wrappedMessage edits what encoding/json read, as WrapURIs says it does.
func wrappedMessage(root map[string]any, wrap func(string) string) {
	if params, ok := root["params"].(map[string]any); ok && root["method"] == "notifications/resources/updated" {
		wrapped(params, "uri", wrap)
	}
	result, _ := root["result"].(map[string]any)
	wrappedMeta(result, wrap)
	eachObject(result["content"], func(m map[string]any) { wrappedContent(m, wrap) })
	eachObject(result["messages"], func(m map[string]any) {
		eachObject(m["content"], func(m map[string]any) { wrappedContent(m, wrap) })
	})
	eachObject(result["contents"], func(m map[string]any) {
		wrapped(m, "uri", wrap)
		wrappedMeta(m, wrap)
	})
}

func wrappedContent(m map[string]any, wrap func(string) string) {
	wrappedMeta(m, wrap)
	switch m["type"] {
	case "resource_link":
		wrapped(m, "uri", wrap)
	case "resource":
		r, _ := m["resource"].(map[string]any)
		wrapped(r, "uri", wrap)
	}
}

// eachObject calls f for an object, or for the objects of a list.
func eachObject(v any, f func(map[string]any)) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, one := range list {
		if m, is := one.(map[string]any); is {
			f(m)
		}
	}
}

func drawnMessage(t *rapid.T) string {
	odd := drawn(t, `9007199254740993`, `1.10`, `null`, `"uri"`, `{"uri":"x","resource":{"uri":"y"}}`, `[{"uri":"x"}]`)
	text := func() string { return word(t, "a", "é", "file://a", "s+x") }
	uri := func() string { return rapid.SampledFrom([]func() string{text, text, odd}).Draw(t, "uri")() }
	meta := func() string {
		ui := func() string { return members(t, map[string]func() string{"resourceUri": uri}) }
		return members(t, map[string]func() string{"ui/resourceUri": uri, "x": odd, "ui": ui})
	}
	resource := func() string { return members(t, map[string]func() string{"uri": uri, "text": odd, "_meta": meta}) }
	content := func() string {
		return members(t, map[string]func() string{"uri": uri, "resource": resource, "_meta": meta, "x": odd,
			"type": func() string { return word(t, "resource_link", "resource", "text") }})
	}
	list := func(one func() string) func() string {
		return func() string { return "[" + one() + " , " + one() + "]" }
	}
	messages := list(func() string {
		return members(t, map[string]func() string{"content": rapid.SampledFrom([]func() string{content, list(content), odd}).Draw(t, "content"), "role": text})
	})
	return members(t, map[string]func() string{"id": odd, "x": odd,
		"params": func() string { return members(t, map[string]func() string{"uri": uri, "x": odd}) },
		"method": func() string { return word(t, "notifications/resources/updated", "notifications/message") },
		"result": func() string {
			return members(t, map[string]func() string{"content": list(content), "contents": list(resource), "messages": messages, "_meta": meta, "x": odd})
		}})
}

func TestWrappedMessagesAreWhatEncodingJSONWouldEdit(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		data := []byte(drawnMessage(r))
		want := decoded(t, data).(map[string]any)
		wrappedMessage(want, mark)
		out, changed, err := message.WrapURIs(nil, data, mark)
		if err != nil || changed == bytes.Equal(out, data) || !reflect.DeepEqual(decoded(t, out), any(want)) {
			r.Fatalf("%s\nbecame %s %v (%v)", data, out, changed, err)
		}
		same, changed, err := message.WrapURIs(nil, data, func(uri string) string { return uri })
		if err != nil || changed || !bytes.Equal(same, data) {
			r.Fatalf("%s\nbecame %s %v (%v) though nothing changes", data, same, changed, err)
		}
	})
}

// FuzzWrapURIs: editing the bytes is editing what encoding/json reads, and what wrap leaves alone stays byte for byte.
func FuzzWrapURIs(f *testing.F) {
	f.Add([]byte(`{"id":1,"result":{"content":[{"type":"resource_link","uri":"a"},{"type":"resource","resource":{"\u0075ri":"b"}}],"_meta":{"ui":{"resourceUri":"c"}}}}`))
	f.Add([]byte(`[{"method":"notifications/resources/updated","params":{"uri":"\u0061"}},{"result":{"messages":[{"content":{"type":"resource_link","uri":"a"}}],"contents":[{"uri":""}]}}]`))
	f.Add([]byte(` {"method":"uri0`))
	for _, s := range corpus {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		same, changed, err := message.WrapURIs(nil, data, func(uri string) string { return uri })
		if err == nil && (changed || !bytes.Equal(same, data)) {
			t.Fatalf("%q became %q", data, same)
		}
		out, changed, err := message.WrapURIs(nil, data, mark)
		if err != nil || !changed {
			if err == nil && !bytes.Equal(out, data) {
				t.Fatalf("%q became %q", data, out)
			}
			return
		}
		want := decoded(t, data)
		// Halves of surrogate pairs can't be told from U+FFFD in what was decoded.
		eachObject(want, func(m map[string]any) { wrappedMessage(m, mark) })
		broken := bytes.Contains(data, []byte(`\u`)) || bytes.ContainsRune(data, '\ufffd')
		if got := decoded(t, out); !broken && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q became %q", data, out)
		}
	})
}

package message_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

func mark(uri string) string { return "s+" + uri }

func TestAppendItem(t *testing.T) {
	type view = message.View
	for _, c := range []struct {
		name string
		view view
		wrap func(string) string
		in   string
		want string
	}{
		{"as it is", view{}, nil, `{ "name":"a" ,"n":9007199254740993,"m":1.10}`, `{ "name":"a" ,"n":9007199254740993,"m":1.10}`},
		{"name", view{Name: "s-a"}, nil, `{"title":"name","name" : "a","x":{"name":"a"}}`, `{"title":"name","name" : "s-a","x":{"name":"a"}}`},
		{"name in disguise", view{Name: "s-a"}, nil, `{"n\u0061me":"\u0061"}`, `{"n\u0061me":"s-a"}`},
		{"the same name", view{Name: "a"}, nil, `{"name":"\u0061"}`, `{"name":"\u0061"}`},
		{"description", view{Name: "b", Description: "new \"d\""}, nil, `{"description":"old","name":"a","title":"t"}`, `{"description":"new \"d\"","name":"b","title":"t"}`},
		{"description in disguise", view{Description: "d"}, nil, `{"name":"a","d\u0065scription":"old"}`, `{"name":"a","d\u0065scription":"d"}`},
		{"description that is no string", view{Description: "d"}, nil, `{"name":"a","description":null}`, `{"name":"a","description":"d"}`},
		{"no description", view{Name: "b", Description: "d"}, nil, `{"x":1, "name":"a" , "y":2}`, `{"x":1, "name":"b","description":"d" , "y":2}`},
		{"no description, same name", view{Name: "a", Description: "d"}, nil, `{"name":"a"}`, `{"name":"a","description":"d"}`},
		{"parameters", view{Parameters: []string{"c", "a"}}, nil,
			`{"name":"t","inputSchema":{"type":"object","properties":{ "a" : {"n":1.0} , "b":{"properties":{"a":1}}, "\u0063":{} },"required":[ "b", "\u0063" ,"a"],"x":1},"outputSchema":{"properties":{"b":1}}}`,
			`{"name":"t","inputSchema":{"type":"object","properties":{"a" : {"n":1.0},"\u0063":{}},"required":["\u0063","a"],"x":1},"outputSchema":{"properties":{"b":1}}}`},
		{"all parameters", view{Parameters: []string{"a", "b"}}, nil, `{"inputSchema":{"properties":{ "a":1 , "b":2 },"required":[ "a" ]}}`, `{"inputSchema":{"properties":{ "a":1 , "b":2 },"required":[ "a" ]}}`},
		{"no parameters", view{Parameters: []string{}}, nil, `{"inputSchema":{"properties":{"a":1 },"required":["a",1]}}`, `{"inputSchema":{"properties":{},"required":[]}}`},
		{"properties twice", view{Parameters: []string{"a"}}, nil, `{"inputSchema":{"properties":{"a":1,"b":1},"properties":{"b":1,"a":2}}}`, `{"inputSchema":{"properties":{"a":1},"properties":{"a":2}}}`},
		{"schemas that are none", view{Parameters: []string{"a"}}, nil, `{"inputSchema":[{"properties":{"b":1}}]}`, `{"inputSchema":[{"properties":{"b":1}}]}`},
		{"uri", view{}, mark, `{"name":"a","uri":"f:\/\/a","uriTemplate":"f://{x}","icons":[{"src":"f://a"}]}`, `{"name":"a","uri":"s+f://a","uriTemplate":"s+f://{x}","icons":[{"src":"f://a"}]}`},
		{"uri not wrapped", view{Name: "b"}, nil, `{"name":"a","uri":"f:\/\/a"}`, `{"name":"b","uri":"f:\/\/a"}`},
		{"links to user interfaces", view{}, mark, `{"_meta":{"x":{"resourceUri":"k"},"ui":{"n":1,"resourceUri":"ui://a"},"ui\/resourceUri":"ui://b"}}`, `{"_meta":{"x":{"resourceUri":"k"},"ui":{"n":1,"resourceUri":"s+ui://a"},"ui\/resourceUri":"s+ui://b"}}`},
		{"both in disguise", view{}, mark, `{"_m\u0065ta":{"\u0075i":{"resourceUr\u0069":"u"}},"\u0075ri":"a"}`, `{"_m\u0065ta":{"\u0075i":{"resourceUr\u0069":"s+u"}},"\u0075ri":"s+a"}`},
		{"uris that are none", view{}, mark, `{"uri":["a"],"_meta":{"ui":"a","ui/resourceUri":null}}`, `{"uri":["a"],"_meta":{"ui":"a","ui/resourceUri":null}}`},
		{"no object", view{Name: "b"}, mark, `["name"]`, `["name"]`},
		{"no JSON", view{Name: "b"}, mark, `{"name":"a","x":}`, `{"name":"a","x":}`},
	} {
		if got := message.AppendItem([]byte("kept "), []byte(c.in), c.view, c.wrap); string(got) != "kept "+c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// word is one of a few words, as a JSON string, perhaps spelled with escapes.
func word(t *rapid.T, words ...string) string {
	w := rapid.SampledFrom(words).Draw(t, "word")
	if at := rapid.IntRange(0, 2*len(w)).Draw(t, "escape"); at < len(w) && w[at] < 0x80 {
		return fmt.Sprintf(`"%s\u%04x%s"`, w[:at], w[at], w[at+1:])
	}
	return `"` + w + `"`
}

// members is a JSON object of some of the members given, in any order, each a name and what draws its value.
func members(t *rapid.T, values map[string]func() string) string {
	names := []string{}
	for n := range values {
		names = append(names, n)
	}
	slices.Sort(names)
	blank := rapid.SampledFrom([]string{"", "", " ", "\n\t"})
	var out []string
	for _, n := range rapid.Permutation(names).Draw(t, "order")[:rapid.IntRange(0, len(names)).Draw(t, "members")] {
		b := func() string { return blank.Draw(t, "blank") }
		out = append(out, b()+word(t, n)+b()+":"+b()+values[n]()+b())
	}
	return "{" + strings.Join(out, ",") + "}"
}

func drawn(t *rapid.T, values ...string) func() string {
	return func() string { return rapid.SampledFrom(values).Draw(t, "value") }
}

// definition is a random element of a list.
func definition(t *rapid.T) string {
	odd := drawn(t, `9007199254740993`, `1.10`, `null`, `{"name":"x"}`, `[{"uri":"x"}]`, `"\u00e9\/é"`, `-0.0E+1`)
	text := func() string { return word(t, "a", "b", "é", "file://a", "x-y") }
	uri := func() string { return rapid.SampledFrom([]func() string{text, odd}).Draw(t, "uri")() }
	return members(t, map[string]func() string{
		"title": text, "description": uri, "x-new": odd, "uri": uri, "uriTemplate": uri, "name": text,
		"inputSchema": func() string {
			return members(t, map[string]func() string{
				"properties": func() string { return members(t, map[string]func() string{"p": odd, "q": odd, "r": odd}) },
				"required":   drawn(t, `[]`, `["p"]`, `[ "q","\u0070", "r" ]`, `["z",1]`, `true`),
				"x":          odd,
			})
		},
		"_meta": func() string {
			return members(t, map[string]func() string{
				"ui":             func() string { return members(t, map[string]func() string{"resourceUri": uri, "y": odd}) },
				"ui/resourceUri": uri, "z": odd,
			})
		},
	})
}

// shown edits what encoding/json read, as AppendItem says it does.
func shown(m map[string]any, v message.View, wrap func(string) string) {
	_, named := m["name"]
	_, described := m["description"]
	if named && v.Name != "" {
		m["name"] = v.Name
	}
	if v.Description != "" && (named || described) {
		m["description"] = v.Description
	}
	if schema, ok := m["inputSchema"].(map[string]any); ok && v.Parameters != nil {
		if p, ok := schema["properties"].(map[string]any); ok {
			for name := range p {
				if !slices.Contains(v.Parameters, name) {
					delete(p, name)
				}
			}
		}
		if r, ok := schema["required"].([]any); ok {
			schema["required"] = slices.DeleteFunc(r, func(one any) bool {
				s, is := one.(string)
				return !is || !slices.Contains(v.Parameters, s)
			})
		}
	}
	if wrap == nil {
		return
	}
	wrapped(m, "uri", wrap)
	wrapped(m, "uriTemplate", wrap)
	wrappedMeta(m, wrap)
}

func wrapped(m map[string]any, name string, wrap func(string) string) {
	if s, is := m[name].(string); is {
		m[name] = wrap(s)
	}
}

func wrappedMeta(m map[string]any, wrap func(string) string) {
	meta, _ := m["_meta"].(map[string]any)
	wrapped(meta, "ui/resourceUri", wrap)
	ui, _ := meta["ui"].(map[string]any)
	wrapped(ui, "resourceUri", wrap)
}

func TestShownItemsAreWhatEncodingJSONWouldEdit(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		raw := []byte(definition(r))
		v := message.View{Name: rapid.SampledFrom([]string{"", "a", "s-a\"", "é"}).Draw(r, "name")}
		v.Description = rapid.SampledFrom([]string{"", "d\n"}).Draw(r, "description")
		if rapid.Bool().Draw(r, "narrowed") {
			v.Parameters = append([]string{}, rapid.SliceOfDistinct(rapid.SampledFrom([]string{"p", "q", "s"}), rapid.ID).Draw(r, "parameters")...)
		}
		wrap := rapid.SampledFrom([]func(string) string{nil, mark}).Draw(r, "wrap")
		want := decoded(t, raw).(map[string]any)
		shown(want, v, wrap)
		out := message.AppendItem(nil, raw, v, wrap)
		if got := decoded(t, out); !reflect.DeepEqual(got, any(want)) {
			r.Fatalf("%s\nbecame %s", raw, out)
		}
		if same := message.AppendItem(nil, raw, message.View{}, func(uri string) string { return uri }); !bytes.Equal(same, raw) {
			r.Fatalf("%s\nbecame %s though nothing changes", raw, same)
		}
		back := message.AppendItem(nil, raw, message.View{}, mark)
		back = message.AppendItem(nil, back, message.View{}, func(uri string) string { return strings.TrimPrefix(uri, "s+") })
		if !reflect.DeepEqual(decoded(t, back), decoded(t, raw)) {
			r.Fatalf("%s\ncame back as %s", raw, back)
		}
	})
}

// renamed shows tools of short names, each under another one.
func renamed(name string) (message.View, bool) {
	return message.View{Name: name + "2", Description: "d", Parameters: []string{"p"}}, len(name)%2 == 1
}

func TestEditTools(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"some go", `[{"name":"xx"}, {"name":"a", "x":1.10} ,{"name":"yy"},{"name":"b"},{"name":"zz"}]`, `[{"name":"a2","description":"d", "x":1.10},{"name":"b2","description":"d"}]`},
		{"all go", `[ {"name":"xx"} , {"name":"yy"} ]`, `[  ]`},
		{"all stay", `[ {"name":"a","description":"d"} , {"name":"b","inputSchema":{"properties":{"q":1}}} ]`, `[ {"name":"a2","description":"d"} , {"name":"b2","description":"d","inputSchema":{"properties":{}}} ]`},
		{"two names", `[{"name":"a","name":"xx"},{"name":"b"}]`, `[{"name":"b2","description":"d"}]`},
		{"a uri", `[{"name":"a","_meta":{"ui":{"resourceUri":"u"}}}]`, `[{"name":"a2","description":"d","_meta":{"ui":{"resourceUri":"u"}}}]`},
		{"none", `null`, `null`},
	} {
		got, err := message.EditTools([]byte("kept "), []byte(listHead+c.in+listTail), renamed)
		if want := "kept " + listHead + c.want + listTail; err != nil || string(got) != want {
			t.Errorf("%s:\n got %s (%v)\nwant %s", c.name, got, err, want)
		}
	}
	if got, err := message.EditTools([]byte("kept"), []byte(`{"result":{"tools":[],"tools":[]}}`), renamed); err == nil || string(got) != "kept" {
		t.Errorf("tools twice: %s, %v", got, err)
	}
}

func TestEditEvent(t *testing.T) {
	event := "event: message\nid: 7\ndata: {\"id\":1,\"result\":{\"tools\":[{\"name\":\"a\"},\ndata: {\"name\":\"xx\"}]}}\n\n"
	want := "event: message\nid: 7\ndata: {\"id\":1,\"result\":{\"tools\":[{\"name\":\"a2\",\"description\":\"d\"}]}}\n\n"
	got, changed, err := message.EditEvent([]byte("kept "), []byte(event), renamed)
	if err != nil || !changed || string(got) != "kept "+want {
		t.Errorf("got %q %v (%v)", got, changed, err)
	}
	for _, same := range []string{": comment\n\n", "data: {\"id\":1,\"result\":{\"tools\":[]}}\n\n", "data: text\n\n"} {
		if got, changed, err := message.EditEvent(nil, []byte(same), renamed); err != nil || changed || string(got) != same {
			t.Errorf("%q became %q %v (%v)", same, got, changed, err)
		}
	}
}

// FuzzEditTools: it keeps what FilterTools keeps, and shows each as AppendItem does.
func FuzzEditTools(f *testing.F) {
	f.Add([]byte(`{"id":1,"result":{"tools":[{"name":"xx"}, {"name":"a","description":5,"inputSchema":{"properties":{"p":1,"q":2}}} ,{"name":"b"}]}}`))
	f.Add([]byte(`[{"result":{"tools":[{"n\u0061me":"a","name":"b"},{"name":"\u0061"}]}},{"result":{"tools":null}}]`))
	for _, s := range corpus {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := message.EditTools(nil, body, renamed)
		kept, err2 := message.FilterTools(nil, body, func(n string) bool { _, ok := renamed(n); return ok })
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%q: %v, %v", body, err, err2)
		}
		if err != nil {
			return
		}
		want := decoded(t, kept)
		messages, _ := want.([]any)
		if messages == nil {
			messages = []any{want}
		}
		for _, m := range messages {
			root, _ := m.(map[string]any)
			result, _ := root["result"].(map[string]any)
			tools, _ := result["tools"].([]any)
			for _, tool := range tools {
				v, _ := renamed(tool.(map[string]any)["name"].(string))
				shown(tool.(map[string]any), v, nil)
			}
		}
		if got := decoded(t, out); !reflect.DeepEqual(got, want) && !duplicates(body) {
			t.Fatalf("%q became %q", body, out)
		}
	})
}

// duplicates reports whether some object may have a name twice, which encoding/json reads as one.
func duplicates(body []byte) bool {
	return bytes.Count(body, []byte("properties")) > 1 || bytes.Contains(body, []byte(`\u`))
}

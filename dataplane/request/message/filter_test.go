package message_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// only keeps the tools named.
func only(names ...string) func(string) bool {
	return func(n string) bool { return slices.Contains(names, n) }
}

const listHead, listTail = `{"jsonrpc":"2.0","id":7,"result":{"tools":`, `,"nextCursor":"n"}}`

func TestFilterTools(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"all stay", `[{"name":"a"},{"name":"b"}]`, `[{"name":"a"},{"name":"b"}]`},
		{"none stays", `[{"name":"x"},{"name":"y"}]`, `[]`},
		{"none stays, with blanks", "[ {\"name\":\"x\"} ,\n{\"name\":\"y\"}\t]", "[ \t]"},
		{"the first goes", `[{"name":"x"},{"name":"a"}]`, `[{"name":"a"}]`},
		{"the last goes", `[{"name":"a"},{"name":"x"}]`, `[{"name":"a"}]`},
		{"the middle goes", `[{"name":"a"} , {"name":"x"}, {"name":"b"} ]`, `[{"name":"a"}, {"name":"b"} ]`},
		{"two in front go", `[ {"name":"x"}, {"name":"y"}, {"name":"a"}]`, `[ {"name":"a"}]`},
		{"two behind go", `[{"name":"a"} ,{"name":"x"} , {"name":"y"} ]`, `[{"name":"a"} ]`},
		{"every other", `[{"name":"x"},{"name":"a"},{"name":"x"},{"name":"b"},{"name":"x"}]`, `[{"name":"a"},{"name":"b"}]`},
		{"empty", `[ ]`, `[ ]`},
		{"no list at all", `null`, `null`},
		{"unknown members stay", `[{"x-new":{"name":"x","n":1.10},"name" : "a","inputSchema":{"a":1,"a":2}},{"name":"x"}]`,
			`[{"x-new":{"name":"x","n":1.10},"name" : "a","inputSchema":{"a":1,"a":2}}]`},
		{"a name with escapes", `[{"n\u0061me":"\u0078"},{"name":"\u0061"}]`, `[{"name":"\u0061"}]`},
		{"the same name twice in the list", `[{"name":"a"},{"name":"a"},{"name":"x"}]`, `[{"name":"a"},{"name":"a"}]`},
		{"two names", `[{"name":"a","name":"x"},{"name":"b"}]`, `[{"name":"b"}]`},
		{"two names, one in disguise", `[{"name":"x","n\u0061me":"a"},{"name":"b"}]`, `[{"name":"b"}]`},
		{"two names and an object behind", `[{"name":"a","name":"x","s":{"d":[{}]}},{"name":"b"}]`, `[{"name":"b"}]`},
		{"no name", `[{"title":"a"},{"name":"b"}]`, `[{"name":"b"}]`},
		{"a name that is no string", `[{"name":["a"]},{"name":null},{"name":1},{"name":"b"}]`, `[{"name":"b"}]`},
		{"half a character", `[{"name":"a\ud800"},{"na\ud800me":1,"name":"a"},{"name":"b"}]`, `[{"name":"b"}]`},
		{"no objects", `["a",{"name":"b"},["a"],null,1]`, `[{"name":"b"}]`},
	} {
		got, err := message.FilterTools([]byte("kept "), []byte(listHead+c.in+listTail), only("a", "b"))
		if want := "kept " + listHead + c.want + listTail; err != nil || string(got) != want {
			t.Errorf("%s:\n got %s (%v)\nwant %s", c.name, got, err, want)
		}
	}
}

func TestFilterToolsLeavesOtherMessagesAlone(t *testing.T) {
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"result":{}}`,
		` { "id" : 1, "result" : { "content" : [ {"name":"x"} ] , "x" : {"tools":[{"name":"x"}]} } } ` + "\n",
		`{"jsonrpc":"2.0","id":1,"error":{"code":1,"data":{"tools":[{"name":"x"}]}}}`,
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"result":{"tools":[{"name":"x"}]}}}`,
		`{"result":"tools"}`, `{"tools":[{"name":"x"}]}`, `"tools"`, `[]`, `[1,{"result":[]}]`,
	} {
		got, err := message.FilterTools(nil, []byte(body), only())
		if err != nil || string(got) != body {
			t.Errorf("%s became %s (%v)", body, got, err)
		}
	}
}

func TestFilterToolsInBatches(t *testing.T) {
	body := `[{"id":1,"result":{"tools":[{"name":"x"}, {"name":"a"}]}} , {"id":2,"result":{"tools":[{"name":"x"}]}},{"id":3}]`
	want := `[{"id":1,"result":{"tools":[{"name":"a"}]}} , {"id":2,"result":{"tools":[]}},{"id":3}]`
	if got, err := message.FilterTools(nil, []byte(body), only("a")); err != nil || string(got) != want {
		t.Errorf("got %s (%v)", got, err)
	}
}

func TestFilterToolsRefusesWhatParsersReadDifferently(t *testing.T) {
	for name, body := range map[string]string{
		"result twice":              `{"result":{},"result":{"tools":[{"name":"x"}]}}`,
		"result twice, in disguise": `{"result":{},"r\u0065sult":{"tools":[{"name":"x"}]}}`,
		"tools twice":               `{"result":{"tools":[],"tools":[{"name":"x"}]}}`,
		"tools an object":           `{"result":{"tools":{"0":{"name":"x"}}}}`,
		"half a character":          `{"result":{"\ud800":1,"tools":[]}}`,
		"no JSON":                   `{"result":{"tools":[{"name":"x"}]}`,
		"a comma too many":          `{"result":{"tools":[{"name":"x"},]}}`,
		"something behind":          `{"result":{}}{"result":{"tools":[{"name":"x"}]}}`,
		"nothing":                   ``,
		"too deep":                  `{"result":{"tools":[{"name":"x","d":` + strings.Repeat("[", 1021) + strings.Repeat("]", 1021) + `}]}}`,
	} {
		got, err := message.FilterTools([]byte("kept"), []byte(body), only())
		f, ok := err.(*fault.Error) //nolint:errorlint // it is returned as it is
		if !ok || f.Hop != fault.Upstream || f.Kind != fault.Malformed || string(got) != "kept" {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	deep := `{"result":{"tools":[{"name":"a","d":` + strings.Repeat("[", 1020) + strings.Repeat("]", 1020) + `}]}}`
	if got, err := message.FilterTools(nil, []byte(deep), only("a")); err != nil || string(got) != deep {
		t.Errorf("within the depth: %v", err)
	}
}

// tools are random elements of a list; each has a name or is something else.
func tools(t *rapid.T) []string {
	blank := rapid.SampledFrom([]string{"", "", " ", "\n\t", "\r\n  "})
	name := rapid.SampledFrom([]string{`"a"`, `"b"`, `"x"`, `"\u0061"`, `"é"`, `"\u00e9"`, `1`, `null`})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
		b := func() string { return blank.Draw(t, "blank") }
		extra := rapid.SampledFrom([]string{``, `,"d":{"name":"a"}`, `,"n":1.10`, `,"s":"],\"name\":"`}).Draw(t, "extra")
		return b() + `{` + b() + `"name"` + b() + `:` + b() + name.Draw(t, "name") + extra + `}` + b()
	}), 0, 8).Draw(t, "tools")
}

func TestFilteredListsAreWhatEncodingJSONWouldKeep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := tools(t)
		keep := only(rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "é"})).Draw(t, "kept")...)
		want := []string{}
		for _, e := range list {
			var o struct{ Name any }
			if err := json.Unmarshal([]byte(e), &o); err != nil {
				t.Fatal(err)
			}
			if n, ok := o.Name.(string); ok && keep(n) {
				want = append(want, strings.TrimSpace(e))
			}
		}
		body := `{"id":1,"result":{"x":[],"tools":[` + strings.Join(list, ",") + `],"y":0}}`
		out, err := message.FilterTools(nil, []byte(body), keep)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Result struct{ Tools []json.RawMessage }
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s became %s: %v", body, out, err)
		}
		if fmt.Sprintf("%s", got.Result.Tools) != fmt.Sprint(want) {
			t.Fatalf("%s became %s, want %s", body, out, want)
		}
		if !bytes.HasPrefix(out, []byte(`{"id":1,"result":{"x":[],"tools":[`)) || !bytes.HasSuffix(out, []byte(`],"y":0}}`)) {
			t.Fatalf("something else changed: %s", out)
		}
	})
}

// FuzzFilterTools: nothing makes it panic, what comes out of JSON is JSON, no tool is made up, and none that isn't wanted comes through.
func FuzzFilterTools(f *testing.F) {
	for _, s := range append(slices.Clone(corpus), listHead+`[{"name":"a"},{"name":"x"} , {"n\u0061me":"\u0061","name":"x"},1]`+listTail,
		`[{"result":{"tools":[ {"name":"x"}, {"name":"a"}]}}]`, `{"result":{"tools":[{"name":"x"} ,{"name":"y"}]},"result":null}`) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		out, err := message.FilterTools(nil, body, func(n string) bool { return len(n)%2 == 1 })
		if err != nil {
			if len(out) != 0 {
				t.Fatalf("%q: something came with %v", body, err)
			}
			return
		}
		if !json.Valid(body) || !json.Valid(out) {
			t.Fatalf("%q became %q", body, out)
		}
		again, err := message.FilterTools(nil, out, func(n string) bool {
			if len(n)%2 != 1 {
				t.Fatalf("%q: %q came through", body, n)
			}
			return true
		})
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("%q became %q, then %q (%v)", body, out, again, err)
		}
		for _, tool := range listed(out) {
			if !bytes.Contains(body, tool) {
				t.Fatalf("%q: %q was made up", body, tool)
			}
		}
	})
}

func listed(body []byte) []json.RawMessage {
	var m struct {
		Result struct{ Tools []json.RawMessage }
	}
	if json.Unmarshal(body, &m) != nil {
		return nil
	}
	return m.Result.Tools
}

func TestFilterEvent(t *testing.T) {
	const two, one = listHead + `[{"name":"x"},{"name":"a"}]` + listTail, listHead + `[{"name":"a"}]` + listTail
	for _, c := range []struct{ name, in, want string }{
		{"a list", "event: message\nid: 5\ndata: " + two + "\n\n", "event: message\nid: 5\ndata: " + one + "\n\n"},
		{"fields on both sides", "id: 5\r\ndata:" + two + "\r\nretry: 3\r\n: hm\r\n\r\n", "id: 5\r\ndata: " + one + "\nretry: 3\r\n: hm\r\n\r\n"},
		{"only CR", "id: 5\rdata: " + two + "\r\r", "id: 5\rdata: " + one + "\n\r"},
		{"several lines", "data: {\"result\":{\ndata: \"tools\":[{\"name\":\"x\"},\nid: 7\ndata:  {\"name\":\"a\"}]\ndata\ndata: }}\n\n",
			"data: {\"result\":{\ndata: \"tools\":[{\"name\":\"a\"}]\ndata: \ndata: }}\nid: 7\n\n"},
		{"nothing to leave out", "id: 1\r\ndata:" + one + "\r\n\r\n", ""},
		{"another message", "data: {\"method\":\"notifications/progress\"}\n\n", ""},
		{"no message", "event: endpoint\ndata: /message?id=5\n\n", ""},
		{"a comment", ": ping\n\n", ""},
		{"an empty event", "id: 5\ndata:\n\n", ""},
		{"a mark that not every client skips", "data: {\"id\":1}\n\xef\xbb\xbfdata: \n\n", "data: {\"id\":1}\ndata: \n\n"},
		{"not ended", "data: " + two, "data: " + one + "\n"},
	} {
		want := c.want
		if want == "" {
			want = c.in
		}
		got, changed, err := message.FilterEvent([]byte("kept "), []byte(c.in), only("a"))
		if err != nil || string(got) != "kept "+want || changed != (c.want != "") {
			t.Errorf("%s:\n got %q %v (%v)\nwant %q", c.name, got, changed, err, want)
		}
	}
	if got, _, err := message.FilterEvent([]byte("kept"), []byte("data: {\"result\":{\"tools\":{}}}\n\n"), only("a")); err == nil || string(got) != "kept" {
		t.Errorf("a refused event: %q, %v", got, err)
	}
}

// FuzzFilterEvent: what a client reads out of the new event is what FilterTools makes of what it read out of the old one.
func FuzzFilterEvent(f *testing.F) {
	f.Add([]byte("event: message\r\nid: 1\r\ndata: {\"result\":\r\ndata: {\"tools\":[{\"name\":\"xx\"}]}}\r\n\r\n"))
	f.Add([]byte("data: [\rdata: {}]\r: x\r\r"))
	f.Fuzz(func(t *testing.T, event []byte) {
		keep := func(n string) bool { return len(n)%2 == 1 }
		out, changed, err := message.FilterEvent(nil, event, keep)
		if err != nil {
			return
		}
		if !changed && !bytes.Equal(out, event) {
			t.Fatalf("%q became %q", event, out)
		}
		was, ok := message.Data(nil, event)
		is, _ := message.Data(nil, out)
		if want, err := message.FilterTools(nil, was, keep); ok && err == nil && !bytes.Equal(is, want) {
			t.Fatalf("%q became %q, want %q", was, is, want)
		}
		if !bytes.Equal(message.ID(event), message.ID(out)) {
			t.Fatalf("the id of %q became that of %q", event, out)
		}
		if changed && ends(out) && !ends(event) {
			t.Fatalf("%q ends early as %q", event, out)
		}
	})
}

// ends reports whether there is an empty line, by which clients dispatch an event.
func ends(event []byte) bool {
	text := strings.ReplaceAll(strings.ReplaceAll(string(event), "\r\n", "\n"), "\r", "\n")
	return strings.HasPrefix(text, "\n") || strings.Contains(text, "\n\n")
}

func TestFilterDoesNotAllocateIntoRoomWhenAllStay(t *testing.T) {
	body := []byte(`{"jsonrpc":"2.0","id":7,"result":{"content":[{"name":"x"}]}}`)
	event := append(append([]byte("data: "), body...), "\n\n"...)
	room := make([]byte, 0, 4096)
	keep := only()
	n := testing.AllocsPerRun(100, func() {
		room, _ = message.FilterTools(room[:0], body, keep)
		room, _, _ = message.FilterEvent(room[:0], event, keep)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFilterTools(b *testing.B) {
	for _, n := range []int{10, 1000} {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"name":"tool_%d","description":%q,"inputSchema":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}},"required":["a"]}}`,
				i, strings.Repeat("does things. ", 10)))
		}
		body := []byte(listHead + "[" + strings.Join(list, ",") + "]" + listTail)
		keep := func(n string) bool { return len(n)%2 == 0 }
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var dst []byte
			var err error
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if dst, err = message.FilterTools(dst[:0], body, keep); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

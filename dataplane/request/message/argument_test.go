package message_test

import (
	"encoding/json"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestArgument(t *testing.T) {
	for _, c := range []struct {
		name, params, want string
		ok, refused        bool
	}{
		{"a string", `{"name":"t","arguments":{"a":1,"repo" : "x\/y" }}`, `"x\/y"`, true, false},
		{"an object", `{"arguments":{"repo":{"repo":[1]}}}`, `{"repo":[1]}`, true, false},
		{"null", `{"arguments":{"repo":null}}`, `null`, true, false},
		{"with escapes", `{"\u0061rguments":{"r\u0065po":7}}`, `7`, true, false},
		{"only further down", `{"repo":1,"arguments":{"a":{"repo":1}},"_meta":{"repo":1}}`, ``, false, false},
		{"other names, twice", `{"arguments":{"a":1,"a":2}}`, ``, false, false},
		{"no arguments", `{"name":"t"}`, ``, false, false},
		{"empty", `{"arguments":{ }}`, ``, false, false},
		{"arguments null", `{"arguments":null}`, ``, false, false},
		{"params a list", `["repo"]`, ``, false, false},
		{"no params", `null`, ``, false, false},
		{"twice", `{"arguments":{"repo":1,"repo":1}}`, ``, true, true},
		{"twice, in disguise", `{"arguments":{"repo":1,"rep\u006f":2}}`, ``, true, true},
		{"other capitals", `{"arguments":{"Repo":1}}`, ``, true, true},
		{"both spellings", `{"arguments":{"repo":1,"REPO":2}}`, ``, true, true},
		{"half a character", `{"arguments":{"repo\ud800":1}}`, ``, true, true},
		{"arguments a list", `{"arguments":["repo"]}`, ``, true, true},
		{"arguments a string", `{"arguments":"{\"repo\":1}"}`, ``, true, true},
	} {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + c.params + `}`
		raw, ok, err := message.Argument([]byte(body), scanned(t, body), "repo")
		if string(raw) != c.want || ok != c.ok || (err != nil) != c.refused {
			t.Errorf("%s: %s %v %v", c.name, raw, ok, err)
		}
		if f, is := err.(*fault.Error); c.refused && (!is || f.Hop != fault.Client || f.Code != fault.CodeInvalidParams) { //nolint:errorlint // it is returned as it is
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// FuzzArgument: what is told is what encoding/json reads.
func FuzzArgument(f *testing.F) {
	for _, s := range corpus {
		f.Add([]byte(s), "city")
	}
	f.Add([]byte(`{"jsonrpc":"2.0","method":"m","params":{"arguments":{"a":1,"\u0062":[2]}}}`), "b")
	f.Fuzz(func(t *testing.T, body []byte, name string) {
		var e message.Envelope
		if message.Scan(body, 64, &e) != nil {
			return
		}
		raw, ok, err := message.Argument(body, &e, name)
		if err != nil {
			return
		}
		var m struct{ Params map[string]json.RawMessage }
		var arguments map[string]json.RawMessage
		if json.Unmarshal(body, &m) == nil {
			json.Unmarshal(m.Params["arguments"], &arguments) //nolint:errcheck // then there are none
		}
		want, there := arguments[name]
		if ok != there || string(raw) != string(want) {
			t.Fatalf("%q of %q: %q %v, want %q", name, body, raw, ok, want)
		}
	})
}

func BenchmarkArgument(b *testing.B) {
	body := []byte(modernCall)
	e := scanned(b, modernCall)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := message.Argument(body, e, "city"); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

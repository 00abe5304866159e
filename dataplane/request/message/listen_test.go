package message_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

func listening(notifications string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"n":1.10, "notifications" : ` + notifications + ` ,"_meta":{}}}`
}

func TestReadListen(t *testing.T) {
	for in, want := range map[string]message.Listen{
		`{}`: {},
		`{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}`: {Tools: true, Prompts: true, Resources: true},
		`{"toolsListChanged":false,"promptsListChanged":null,"x":5}`:                      {},
		`{"tools\u004cistChanged":true,"resourceSubscriptions":["f:\/\/a","\u0062"]}`:     {Tools: true, URIs: []string{"f://a", "b"}},
		`{"resourceSubscriptions":[]}`:                                                    {},
		`{"resourceSubscriptions":null,"taskIds":["t"]}`:                                  {},
	} {
		body := listening(in)
		if l, err := message.ReadListen([]byte(body), scanned(t, body)); err != nil || !reflect.DeepEqual(l, want) {
			t.Errorf("%s: %+v (%v)", in, l, err)
		}
	}
	for _, in := range []string{
		`null`, `[]`, `true`, `{"toolsListChanged":1}`, `{"toolsListChanged":true,"toolsListChanged":false}`, `{"toolsListChanged":true,"tools\u004cistChanged":false}`,
		`{"resourceSubscriptions":"a"}`, `{"resourceSubscriptions":["a",5]}`, `{"resourceSubscriptions":["\ud800"]}`, `{"\ud800":1}`,
	} {
		body := listening(in)
		l, err := message.ReadListen([]byte(body), scanned(t, body))
		if f := fault.As(err); f == nil || f.Hop != fault.Client || f.JSONRPCCode() != fault.CodeInvalidParams || !reflect.DeepEqual(l, message.Listen{}) {
			t.Errorf("%s: %+v, %v", in, l, err)
		}
	}
	for _, body := range []string{`{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}`, `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":[]}`} {
		if _, err := message.ReadListen([]byte(body), scanned(t, body)); err == nil {
			t.Errorf("%s was accepted", body)
		}
	}
}

func TestReplaceListen(t *testing.T) {
	all := message.Listen{Tools: true, Resources: true, URIs: []string{"f://a", "b\""}}
	const written = `"toolsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["f://a","b\""]`
	for _, c := range []struct {
		in   string
		l    message.Listen
		want string
	}{
		{`{"promptsListChanged":true,"taskIds":["t"],"resourceSubscriptions":[]}`, all, `{` + written + `}`},
		{`{ "x-new" : 9007199254740993 ,"tools\u004cistChanged":false, "y":{"taskIds":1}}`, all, `{` + written + `,"x-new" : 9007199254740993,"y":{"taskIds":1}}`},
		{`{"x":1}`, message.Listen{}, `{"x":1}`},
		{`{"toolsListChanged":true}`, message.Listen{}, `{}`},
		{`null`, message.Listen{Prompts: true}, `{"promptsListChanged":true}`},
	} {
		body := listening(c.in)
		if got := string(message.ReplaceListen([]byte("kept "), []byte(body), scanned(t, body), c.l)); got != "kept "+listening(c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.in, got, listening(c.want))
		}
	}
	const head = `{"jsonrpc":"2.0","id":1,"method":"m"`
	for in, want := range map[string]string{
		head + `}`:                                  head + `,"params":{"notifications":{"toolsListChanged":true}}}`,
		head + `,"params":{"x":1}}`:                 head + `,"params":{"notifications":{"toolsListChanged":true},"x":1}}`,
		head + `,"params":[{"x":1}]}`:               head + `,"params":[{"x":1}]}`,
		`{"jsonrpc":"2.0","result":{},` + `"id":1}`: `{"jsonrpc":"2.0","result":{},"id":1}`,
	} {
		if got := string(message.ReplaceListen(nil, []byte(in), scanned(t, in), message.Listen{Tools: true})); got != want {
			t.Errorf("%s became %s", in, got)
		}
	}
}

// FuzzReadListen: encoding/json reads the same, and what was written in its place is read back.
func FuzzReadListen(f *testing.F) {
	f.Add([]byte(listening(`{"toolsListChanged":true,"x":1,"resourceSubscriptions":["a","\u0062"]}`)))
	f.Add([]byte(listening(`{"promptsListChanged":false,"resourcesListChanged":null}`)))
	for _, s := range corpus {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var e message.Envelope
		if message.Scan(body, 64, &e) != nil || e.Kind != message.Request {
			return
		}
		l, err := message.ReadListen(body, &e)
		if err == nil {
			n := object(t, object(t, e.Params.Of(body))["notifications"])
			for name, got := range map[string]bool{"toolsListChanged": l.Tools, "promptsListChanged": l.Prompts, "resourcesListChanged": l.Resources} {
				if got != (string(n[name]) == "true") {
					t.Fatalf("%q: %s is %v", body, name, got)
				}
			}
			var uris []string
			if raw := n["resourceSubscriptions"]; raw != nil {
				for _, u := range decodedList(t, raw) {
					uris = append(uris, u.(string))
				}
			}
			if !slices.Equal(uris, l.URIs) {
				t.Fatalf("%q: %q", body, l.URIs)
			}
		}
		want := message.Listen{Tools: !l.Tools, Resources: l.Prompts, URIs: append([]string{"x\"é"}, l.URIs...)}
		out := message.ReplaceListen(nil, body, &e, want)
		if err2 := message.Scan(out, 65, &e); err2 != nil {
			t.Fatalf("%q became %q: %v", body, out, err2)
		}
		if got, err2 := message.ReadListen(out, &e); err == nil && (err2 != nil || !reflect.DeepEqual(got, want)) {
			t.Fatalf("%q became %q, read as %+v (%v)", body, out, got, err2)
		}
	})
}

func decodedList(t *testing.T, raw []byte) []any {
	t.Helper()
	list, _ := decoded(t, raw).([]any)
	return list
}

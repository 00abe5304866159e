package message_test

import (
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

func TestProgressTokensFindTheirServer(t *testing.T) {
	for _, token := range []string{`1`, `"a~b"`, `"\u00e9 \"x\""`, `-7`} {
		ask := `{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{"_meta":{"progressToken":` + token + `},"n":1.0}}`
		out, changed := message.WrapProgress(nil, []byte(ask), "notes")
		var e message.Envelope
		if !changed || message.Scan(out, 0, &e) != nil || e.ProgressToken.Of(out)[0] != '"' {
			t.Fatalf("%s: %s", token, out)
		}
		note := []byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":` + string(e.ProgressToken.Of(out)) + `}}`)
		if err := message.Scan(note, 0, &e); err != nil {
			t.Fatal(err)
		}
		back, server, ok := message.UnwrapProgress(nil, note, &e)
		if want := `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":` + token + `}}`; !ok || server != "notes" || string(back) != want {
			t.Errorf("%s: %s of %q, %v", token, back, server, ok)
		}
	}
	if _, changed := message.WrapProgress(nil, []byte(`{"jsonrpc":"2.0","id":1,"method":"roots/list"}`), "notes"); changed {
		t.Error("a token was made up")
	}
	for _, token := range []string{`1`, `"x"`, `"notes~"`, `"notes~{}"`, `"notes~1,2"`, `null`} {
		var e message.Envelope
		note := []byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + token + `}}`)
		if err := message.Scan(note, 0, &e); err != nil {
			t.Fatal(err)
		}
		if _, server, ok := message.UnwrapProgress(nil, note, &e); ok {
			t.Errorf("%s is of %q", token, server)
		}
	}
}

package message_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestSplitBatch(t *testing.T) {
	in := " [ {\"id\":9007199254740993} ,{ \"a\":[1,{}] },\n5,null,\"x\" ]\n"
	want := []string{`{"id":9007199254740993}`, `{ "a":[1,{}] }`, `5`, `null`, `"x"`}
	parts, err := message.SplitBatch([]byte(in), 5)
	got := []string{}
	for _, p := range parts {
		got = append(got, string(p))
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q (%v)", got, err)
	}
	for _, c := range []struct {
		in   string
		kind fault.Kind
		code int
	}{
		{in, fault.TooLarge, fault.CodeInvalidRequest},
		{`[]`, fault.Malformed, fault.CodeInvalidRequest},
		{`{}`, fault.Malformed, fault.CodeInvalidRequest},
		{``, fault.Malformed, fault.CodeInvalidRequest},
		{`[{}`, fault.Malformed, fault.CodeParse},
		{`[{},]`, fault.Malformed, fault.CodeParse},
		{`[{}] x`, fault.Malformed, fault.CodeParse},
		{strings.Repeat("[", 1025) + strings.Repeat("]", 1025), fault.TooLarge, fault.CodeInvalidRequest},
	} {
		parts, err := message.SplitBatch([]byte(c.in), 4)
		if f := fault.As(err); f == nil || parts != nil || f.Hop != fault.Client || f.Kind != c.kind || f.JSONRPCCode() != c.code || f.HTTPStatus() != 400 {
			t.Errorf("%.40s: %q, %v", c.in, parts, err)
		}
	}
}

func FuzzSplitBatch(f *testing.F) {
	f.Add([]byte(`[{"a":1} , 2,[3]]`), 4)
	for _, s := range corpus {
		f.Add([]byte(s), 4)
	}
	f.Fuzz(func(t *testing.T, body []byte, most int) {
		parts, err := message.SplitBatch(body, most)
		if err != nil {
			return
		}
		var want []json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil || len(want) != len(parts) || len(parts) > most {
			t.Fatalf("%q: %d parts, %v", body, len(parts), err)
		}
		for i, p := range parts {
			if string(p) != string(want[i]) {
				t.Fatalf("%q has %q, want %q", body, p, want[i])
			}
		}
	})
}

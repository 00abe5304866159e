package message_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

const ours = "00-11111111111111111111111111111111-2222222222222222-01"

func spliced(t testing.TB, body, state string) string {
	t.Helper()
	return string(message.Splice(nil, []byte(body), scanned(t, body), ours, state))
}

func TestSplice(t *testing.T) {
	const tp, ts = `"traceparent":"` + ours + `"`, `"tracestate":"a=1"`
	const head = `{"jsonrpc":"2.0","id":1,"method":"m"`
	for _, c := range []struct{ name, in, state, want string }{
		{"no params", head + `}`, "", head + `,"params":{"_meta":{` + tp + `}}}`},
		{"no params, method last but one", `{"method": "m" ,"jsonrpc":"2.0"}`, "a=1", `{"method": "m","params":{"_meta":{` + tp + `,` + ts + `}} ,"jsonrpc":"2.0"}`},
		{"empty params", head + `,"params":{ } }`, "", head + `,"params":{"_meta":{` + tp + `} } }`},
		{"params", head + `,"params":{ "name":"x"}}`, "a=1", head + `,"params":{"_meta":{` + tp + `,` + ts + `}, "name":"x"}}`},
		{"empty _meta", head + `,"params":{"_meta":{}}}`, "", head + `,"params":{"_meta":{` + tp + `}}}`},
		{"_meta", head + `,"params":{"_meta":{"k":1 }}}`, "a=1", head + `,"params":{"_meta":{` + tp + `,` + ts + `,"k":1 }}}`},
		{"traceparent there", head + `,"params":{"_meta":{"k":1,"traceparent" : "old" }}}`, "", head + `,"params":{"_meta":{"k":1,"traceparent" : "` + ours + `" }}}`},
		{"traceparent there in disguise", head + `,"params":{"_meta":{"tr\u0061ceparent":null}}}`, "", head + `,"params":{"_meta":{"tr\u0061ceparent":"` + ours + `"}}}`},
		{"both there", head + `,"params":{"_meta":{"tracestate":"x=y","k":[],"traceparent":"old"}}}`, "a=1", head + `,"params":{"_meta":{` + ts + `,"k":[],` + tp + `}}}`},
		{"state of a trace we left", head + `,"params":{"_meta":{"traceparent":"old","tracestate":"x=y"}}}`, "", head + `,"params":{"_meta":{` + tp + `,"tracestate":""}}}`},
		{"state alone", head + `,"params":{"_meta":{"tracestate":"x=y"}}}`, "a=1", head + `,"params":{"_meta":{` + tp + `,` + ts + `}}}`},
		{"traceparent alone, with state", head + `,"params":{"_meta":{"traceparent":"old"}}}`, "a=1", head + `,"params":{"_meta":{` + ts + `,` + tp + `}}}`},
		{"state with a quote", head + `,"params":{}}`, `a="\`, head + `,"params":{"_meta":{` + tp + `,"tracestate":"a=\"\\"}}}`},
		{"notification", `{"jsonrpc":"2.0","method":"m"}`, "", `{"jsonrpc":"2.0","method":"m","params":{"_meta":{` + tp + `}}}`},
		{"params null", head + `,"params":null}`, "", head + `,"params":null}`},
		{"params a list", head + `,"params":[{"_meta":{}}]}`, "", head + `,"params":[{"_meta":{}}]}`},
		{"_meta null", head + `,"params":{"_meta":null}}`, "", head + `,"params":{"_meta":null}}`},
		{"response", `{"jsonrpc":"2.0","id":1,"result":{"_meta":{}}}`, "", `{"jsonrpc":"2.0","id":1,"result":{"_meta":{}}}`},
		{"batch", `[` + head + `}]`, "", `[` + head + `}]`},
	} {
		if got := spliced(t, c.in, c.state); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	body := head + `,"params":{}}`
	if got := message.Splice([]byte("kept "), []byte(body), scanned(t, body), "", ""); string(got) != "kept "+body {
		t.Errorf("without a traceparent: %s", got)
	}
}

func TestSpliceKeepsEveryOtherByte(t *testing.T) {
	big := strings.Repeat(`\u00e9\/x`, 1<<20/9)
	for name, arguments := range map[string]string{
		"numbers":        `{"n":9007199254740993,"m":-0.0,"e":1E400,"f":1.10,"z":123456789012345678901234567890}`,
		"unknown fields": `{"b":1,"a":2,"x-vendor":{"z":[null,true]},"":0}`,
		"escapes":        `{"s":"\/\u00e9\ud83d\ude00\u2028é\ud800"}`,
		"blanks":         "{ \"a\" :\t[ 1 ,\r\n 2 ] }",
		"twice":          `{"a":1,"a":2}`,
		"no UTF-8":       "{\"a\":\"\xff\xfe\"}",
		"a MiB":          `{"a":"` + big + `"}`,
	} {
		body := `{"id":9007199254740993,"x":{"keep":"me"},"method":"tools/call","params":{"name":"t","arguments":` + arguments + `,"_meta":{"progressToken":9007199254740993}},"jsonrpc":"2.0"}`
		got := spliced(t, body, "")
		if back := strings.Replace(got, `"traceparent":"`+ours+`",`, "", 1); back != body || len(got) == len(body) {
			t.Errorf("%s: something else changed", name)
		}
		if e := scanned(t, got); string(e.ID.Of([]byte(got))) != "9007199254740993" {
			t.Errorf("%s: the id became %s", name, e.ID.Of([]byte(got)))
		}
	}
}

func TestSpliceDoesNotAllocateIntoRoom(t *testing.T) {
	body := []byte(modernCall)
	e := scanned(t, modernCall)
	room := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { room = message.Splice(room[:0], body, e, ours, "a=b") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzSplice: the result is JSON, carries our trace, and differs from the body in one place beyond the trace values.
func FuzzSplice(f *testing.F) {
	for _, s := range corpus {
		f.Add([]byte(s), "a=b")
		f.Add([]byte(s), "")
	}
	f.Fuzz(func(t *testing.T, body []byte, state string) {
		var before, after message.Envelope
		if message.Scan(body, 64, &before) != nil {
			return
		}
		got := message.Splice(nil, body, &before, ours, state)
		if !json.Valid(got) {
			t.Fatalf("not JSON: %q became %q", body, got)
		}
		if err := message.Scan(got, 128, &after); err != nil {
			t.Fatalf("%q became %q: %v", body, got, err)
		}
		call := before.Kind == message.Request || before.Kind == message.Notification
		params, meta := before.Params.Of(body), before.Meta.Of(body)
		if !call || params != nil && params[0] != '{' || meta != nil && meta[0] != '{' {
			if !bytes.Equal(got, body) {
				t.Fatalf("%q became %q", body, got)
			}
			return
		}
		if after.TraceparentString(got) != ours {
			t.Fatalf("no trace of ours in %q", got)
		}
		was, is := untraced(body, &before), untraced(got, &after)
		if common(was, is)+commonEnd(was, is) < len(was) {
			t.Fatalf("more than one place differs: %q became %q", body, got)
		}
	})
}

// untraced cuts the values of traceparent and tracestate out.
func untraced(body []byte, e *message.Envelope) []byte {
	first, second := e.Traceparent, e.Tracestate
	if second.Start < first.Start {
		first, second = second, first
	}
	out := append([]byte(nil), body[:first.Start]...)
	out = append(out, body[first.End:second.Start]...)
	return append(out, body[second.End:]...)
}

func common(a, b []byte) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func commonEnd(a, b []byte) (n int) {
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

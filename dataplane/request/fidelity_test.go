package request_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// ours is what a gateway adds to a message on its way out.
var ours = regexp.MustCompile(`"traceparent":"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]",?`)

// delicate is JSON that loses something in a decoder: integers above 2^53, exponents, member order, unknown fields, every kind of escape,
// blanks, nested duplicates.
const delicate = `{ "z":9007199254740993,"a":1.0e+400 ,"n":-0,"\u0061b":"\u00e9\ud83d\ude00\/\b\t","é":"😀\\\"","dup":{"x":1,"x":2},"nul":"\u0000","deep":[[[{"k":[]}]]],
	"u":12345678901234567890123 }`

func TestRequestsArriveByteForByte(t *testing.T) {
	up := mcptest.Start(t, mcptest.Stateless())
	g := start(t, one(up.URL))
	big := strings.Repeat(`{"k":"`+strings.Repeat("x", 1000)+`"},`, 1000)
	for name, body := range map[string]string{
		"params without _meta": `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":` + delicate + `},"extra":` + delicate + `}`,
		"params with _meta":    ` { "method" : "tools/call" , "params" : { "_meta" : { "progressToken" : 9007199254740993 } , "arguments" : ` + delicate + ` , "name":"t" }, "id":"a\u0062", "jsonrpc":"2.0" } `,
		"no params":            `{"id":1e2,"jsonrpc":"2.0","method":"ping"}`,
		"notification":         `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":18446744073709551615,"progress":0.10}}`,
		"response":             `{"jsonrpc":"2.0","id":"ask-1","result":` + delicate + `}`,
		"a megabyte":           `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"list":[` + big + `null]}}}`,
	} {
		before := len(up.Seen())
		a := g.send(t, http.MethodPost, "/up/mcp", body, legacy...)
		if a.status/100 != 2 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
			continue
		}
		got := string(up.Seen()[before].Body)
		if strings.Contains(got, `"traceparent"`) == (name == "response") {
			t.Errorf("%s: trace context in the wrong place: %.200s", name, got)
		}
		// A request without params or _meta gets them, for the trace context alone.
		got = ours.ReplaceAllString(got, "")
		for _, made := range []string{`,"params":{"_meta":{}}`, `"_meta":{},`} {
			if !strings.Contains(body, made) {
				got = strings.Replace(got, made, "", 1)
			}
		}
		if got != body {
			t.Errorf("%s:\nsent %.300s\n got %.300s", name, body, got)
		}
	}
}

func TestAnswersArriveByteForByte(t *testing.T) {
	small := `{"id":1,"result":` + strings.ReplaceAll(delicate, "\n", " ") + `,"jsonrpc":"2.0","unknown":[1.50]}`
	large := `{"jsonrpc":"2.0","id":1,"result":{"text":"` + strings.Repeat(`\u00e9é`, 200_000) + `","n":9007199254740993}}`
	huge := `{"jsonrpc":"2.0","id":1,"result":{"text":"` + strings.Repeat("x", 2<<20) + `"}}`
	events := func(answer string) string {
		return ": hi\n\nid: 7\nevent: message\nretry: 10\ndata: {\"jsonrpc\":\"2.0\",\ndata:  \"method\":\"notifications/x\"}\n\n" +
			"data:" + answer + "\r\nunknown: field\r\n\r\n"
	}
	servers := map[string]*configv1.ServerSpec{}
	want := map[string]string{}
	for name, body := range map[string]string{"small": small, "large": large, "huge": huge} {
		servers["json_"+name] = server(mcptest.Start(t, mcptest.Status(200, "application/json", body)).URL)
		servers["sse_"+name] = server(mcptest.Start(t, mcptest.Status(200, "text/event-stream", events(body))).URL)
		want["json_"+name], want["sse_"+name] = body, events(body)
	}
	g := start(t, settings{servers: servers})
	for name, body := range want {
		for _, debug := range []string{"", "true"} {
			a := g.send(t, http.MethodPost, "/"+name+"/mcp", list, append([]string{"X-Litellm-Mcp-Debug", debug}, legacy...)...)
			if a.status != 200 || a.body != body {
				t.Errorf("%s, debug %q: %d, %d bytes instead of %d: %.200s", name, debug, a.status, len(a.body), len(body), a.body)
			}
		}
		// Without Accept: text/event-stream the answer is JSON, still byte for byte.
		a := g.send(t, http.MethodPost, "/"+name+"/mcp", list, "Mcp-Protocol-Version", "2025-11-25")
		if plain := want["json_"+strings.TrimPrefix(strings.TrimPrefix(name, "sse_"), "json_")]; a.header.Get("Content-Type") != "application/json" || a.body != plain {
			t.Errorf("%s as JSON: %d %s, %d bytes instead of %d", name, a.status, a.header.Get("Content-Type"), len(a.body), len(plain))
		}
	}
}

func TestErrorsOfTheUpstreamArriveByteForByte(t *testing.T) {
	body := `{"jsonrpc":"2.0","id":1,"error":{"code":-32042,"message":"sign in","data":{"elicitations":[{"n":9007199254740993}]}}}`
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{
		"ok": server(mcptest.Start(t, mcptest.Status(200, "application/json", body)).URL), "bad": server(mcptest.Start(t, mcptest.Status(401, "application/json", body)).URL)}})
	for name, status := range map[string]int{"ok": 200, "bad": 401} {
		a := g.send(t, http.MethodPost, "/"+name+"/mcp", list, legacy...)
		if a.status != status || a.body != body || a.header.Get("Www-Authenticate") != "" {
			t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
		}
		if got := a.header.Get("X-Hopgate-Error"); (got == "") != (name == "ok") || got != "" && !strings.HasPrefix(got, "hop=upstream; phase=headers; kind=unauthenticated; remote=true") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Each of five events arrives before the next one is sent.
func TestEventsArriveAsTheyAreSent(t *testing.T) {
	arrived := make(chan struct{}, 4)
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := mcptest.Read(r)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 4 {
			mcptest.Event(w, "", `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`)
			select {
			case <-arrived:
			case <-time.After(20 * time.Second):
				t.Errorf("event %d waits for more", i)
				return
			}
		}
		mcptest.Event(w, "", mcptest.Answer(m, mcptest.Text("done")))
	}))
	g := start(t, one(up.URL))
	res := g.open(t, http.MethodPost, "/up/mcp", list, legacy...)
	defer res.Body.Close()
	r := bufio.NewReader(res.Body)
	for i := range 5 {
		if event(t, r); i < 4 {
			arrived <- struct{}{}
		}
	}
	if rest, err := io.ReadAll(r); err != nil || len(bytes.TrimSpace(rest)) > 0 {
		t.Errorf("after the answer: %q, %v", rest, err)
	}
}

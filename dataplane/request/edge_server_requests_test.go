package request_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// What servers may ask a client, each with what a client may answer: results and errors.
var questions = []struct{ method, params, answer string }{
	{"elicitation/create", `{"message":"really?","requestedSchema":{"type":"object","properties":{"n":{"type":"integer","maximum":9007199254740993}}}}`,
		`"result":{"action":"accept","content":{"n":9007199254740993}}`},
	{"sampling/createMessage", `{"messages":[],"maxTokens":1,"tools":[]}`, `"error":{"code":-1,"message":"the user said no","data":{"x":1.50}}`},
	{"roots/list", `{}`, `"result":{"roots":[{"uri":"file:///home"}]}`},
	{"ping", `{}`, `"result":{}`},
}

// Each kind of request of a server reaches the client, on the stream of the call or on the standalone one, and each kind of answer the server.
func TestEveryQuestionOfAServerComesThrough(t *testing.T) {
	for _, streams := range []bool{true, false} {
		asking := func() http.Handler {
			return &mcptest.Rich{Streams: streams, Tools: []string{tool("ask")}, Do: map[string]func(c *mcptest.Call){"ask": func(c *mcptest.Call) {
				var got []string
				for _, q := range questions {
					got = append(got, c.Ask(`"q"`, q.method, q.params))
				}
				c.Answer(`{"content":[],"got":[` + strings.Join(got, ",") + `]}`)
			}}}
		}
		onEveryWay(t, asking, func(t *testing.T, f *fleet, w way) {
			c := f.join(t, w)
			get := c.open(t, http.MethodGet, "")
			answer := make(chan string, 1)
			at := get
			if streams {
				at = c.open(t, http.MethodPost, c.tool("1", "ask", "{}"))
			} else {
				c.later(t, c.tool("1", "ask", "{}"), answer)
			}
			for _, q := range questions {
				data, _ := at.next(t)
				if text(field(data, "method")) != q.method || field(data, "params") != q.params {
					t.Errorf("%s came as %s", q.method, data)
				}
				if a := c.post(t, `{"jsonrpc":"2.0","id":`+field(data, "id")+`,`+q.answer+`}`); a.status != 202 || a.body != "" {
					t.Errorf("%s: %d %s", q.method, a.status, a.body)
				}
			}
			if streams {
				data, _ := at.next(t)
				answer <- data
			}
			got := <-answer
			for _, q := range questions {
				if !strings.Contains(got, `{"jsonrpc":"2.0","id":"q",`+q.answer+`}`) {
					t.Errorf("no %s in %s", q.answer, got)
				}
			}
		})
	}
}

// An answer that nobody takes is refused at once: by a server that fails, or because nobody asked. No client waits for it.
func TestAnswersThatNobodyTakesAreRefused(t *testing.T) {
	up := &mcptest.Rich{Streams: true, Tools: []string{tool("ask")}, Do: map[string]func(c *mcptest.Call){"ask": func(c *mcptest.Call) {
		c.Ask("1", "ping", "{}")
		c.Answer(`{"content":[]}`)
	}}}
	failing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m := mcptest.Peek(r); r.Method == http.MethodPost && m.Method == "" && strings.Contains(m.Raw, "first") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		up.ServeHTTP(w, r)
	})
	for _, w := range ways {
		f := startFleet(t, failing)
		c := f.join(t, w)
		question := c.open(t, http.MethodPost, c.tool("1", "ask", "{}"))
		data, _ := question.next(t)
		if a := c.post(t, `{"jsonrpc":"2.0","id":`+field(data, "id")+`,"result":{"x":"first"}}`); a.status != 502 || field(a.body, "error") == "" {
			t.Errorf("%s: %d %s", w.path, a.status, a.body)
		}
		if w.server != "" {
			for _, id := range []string{`1`, `"1"`, `"junk"`, `null`} {
				if a := c.post(t, `{"jsonrpc":"2.0","id":`+id+`,"result":{}}`); a.status/100 != 4 || field(a.body, "error") == "" {
					t.Errorf("%s answers nothing: %d %s", id, a.status, a.body)
				}
			}
		}
		if a := c.post(t, `{"jsonrpc":"2.0","id":`+field(data, "id")+`,"result":{}}`); a.status != 202 {
			t.Errorf("%s, the second time: %d %s", w.path, a.status, a.body)
		}
		question.next(t)
	}
}

// A message comes on exactly one stream: answers on that of their call, and nothing of it on the standalone one.
func TestNothingComesTwice(t *testing.T) {
	for _, streams := range []bool{true, false} {
		up := &mcptest.Rich{Streams: streams, Tools: []string{tool("talk")}, Do: map[string]func(c *mcptest.Call){"talk": func(c *mcptest.Call) {
			c.Send(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"of ` + string(c.ID) + `"}}`)
			c.Answer(mcptest.Text("done"))
		}}}
		for _, w := range ways {
			f := startFleet(t, up)
			c := f.join(t, w)
			get := c.open(t, http.MethodGet, "")
			a := c.post(t, c.tool("17", "talk", "{}"))
			if n := strings.Count(a.body, `"id":17`); n != 1 || strings.Count(a.body, "of 17") != map[bool]int{true: 1}[streams] {
				t.Errorf("%s, streams %v: %s", w.path, streams, a.body)
			}
			if !streams {
				if data, _ := get.next(t); !strings.Contains(data, "of 17") {
					t.Errorf("%s: %s", w.path, data)
				}
			}
			up.Push(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"last"}}`)
			if data, _ := get.next(t); !strings.Contains(data, "last") {
				t.Errorf("%s, streams %v: %s also came on the standalone stream", w.path, streams, data)
			}
		}
	}
}

// Servers that only take POST cost nobody the streams of the others, and leave a client that asks for theirs alone with an answer.
func TestServersWithoutAStream(t *testing.T) {
	up := linked()
	f := startFleet(t, up, func(s *settings) {
		s.servers["free"] = server(mcptest.Start(t, &mcptest.Rich{Sessionless: true}).URL)
		s.servers["posts"] = server(mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			(&mcptest.Stateful{}).ServeHTTP(w, r)
		})).URL)
	})
	c := f.join(t, ways[1])
	get := c.open(t, http.MethodGet, "")
	up.Push(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"here"}}`)
	if data, _ := get.next(t); get.StatusCode != http.StatusOK || !strings.Contains(data, "here") {
		t.Errorf("%s %s", get.Status, data)
	}
	alone := f.join(t, way{path: "/free/mcp"})
	if a := f.next().send(t, "GET", "/free/mcp", "", alone.with(nil)...); a.status != 405 {
		t.Errorf("alone: %d", a.status)
	}
}

// Servers hear exactly what the client can do, no more and no less, in every session that is begun for its calls.
func TestServersHearTheClientsOwnCapabilities(t *testing.T) {
	onEveryWay(t, func() http.Handler { return linked() }, func(t *testing.T, f *fleet, w way) {
		c := f.join(t, w)
		for range 3 {
			c.post(t, list)
		}
		seen := heard(f.up, "initialize")
		for _, s := range seen {
			switch got := field(string(s.Body), "params", "capabilities"); {
			case got == able && field(string(s.Body), "params", "clientInfo", "name") == `"édgy"`:
			case got == "{}": // that of a watch, which asks for nothing
			default:
				t.Errorf("a server heard %s", s.Body)
			}
		}
		if field(string(seen[0].Body), "params", "capabilities") != able {
			t.Errorf("the client's own session: %s", seen[0].Body)
		}
		if meek := f.next().send(t, "POST", w.path, strings.Replace(greeting2511, able, "{}", 1)); meek.status != 200 {
			t.Errorf("%d %s", meek.status, meek.body)
		}
		if last := heard(f.up, "initialize"); field(string(last[len(last)-1].Body), "params", "capabilities") != "{}" {
			t.Errorf("of one that can do nothing: %s", last[len(last)-1].Body)
		}
	})
}

// Results that ask for input pass as they are, and a call that comes back with answers is judged like any: by name, grant and owner.
func TestInterimResultsPassAndRetriesAreJudged(t *testing.T) {
	carol := "sk-carol-0123456789abcdef"
	const interim = `"resultType":"input_required","inputRequests":{"login":{"method":"elicitation/create","params":{"mode":"form","message":"who?"}}},"requestState":"st\u0061te=="`
	up := &mcptest.RichModern{Tools: []string{tool("ask")}, Do: map[string]func(m mcptest.Message) string{"ask": func(m mcptest.Message) string {
		if field(string(m.Params), "inputResponses") == "" {
			return interim
		}
		return `"resultType":"complete","content":[],"echo":` + field(string(m.Params), "inputResponses") + `,"state":` + field(string(m.Params), "requestState")
	}}}
	u := mcptest.Start(t, up)
	g := start(t, settings{servers: map[string]*configv1.ServerSpec{"rich": server(u.URL)},
		keys: map[string]*configv1.ApiKeySpec{"carol": {Sha256: digest(carol), Servers: []string{"rich"}, Tools: []*configv1.ToolRule{{Server: "rich", Deny: []string{"ask"}}}}}})
	for _, w := range ways {
		heads := modernHeads("tools/call", w.name("ask"))
		a := g.send(t, "POST", w.path, modernCall("tools/call", `"name":"`+w.name("ask")+`"`), heads...)
		if field(a.body, "result") != "{"+interim+"}" {
			t.Errorf("%s: %d %s", w.path, a.status, a.body)
		}
		const more = `"inputResponses":{"login":{"action":"accept","content":{"n":9007199254740993}}},"requestState":"st\u0061te=="`
		retry := modernCall("tools/call", `"name":"`+w.name("ask")+`",`+more)
		a = g.send(t, "POST", w.path, retry, heads...)
		if !strings.Contains(a.body, `"echo":{"login":{"action":"accept","content":{"n":9007199254740993}}},"state":"st\u0061te=="`) {
			t.Errorf("%s: %d %s", w.path, a.status, a.body)
		}
		before := len(u.Seen())
		if a := g.send(t, "POST", w.path, retry, append(heads, "X-Litellm-Api-Key", carol)...); field(a.body, "error") == "" || len(u.Seen()) != before {
			t.Errorf("%s, by one who may not: %d %s", w.path, a.status, a.body)
		}
	}
}

// A quiet stream of several servers is kept alive like one of one.
func TestQuietStreamsOfSeveralAreKeptAlive(t *testing.T) {
	f := startFleet(t, linked(), func(s *settings) { s.keepAlive = 5 * time.Millisecond })
	for _, w := range ways {
		get := f.join(t, w).open(t, http.MethodGet, "")
		for range 3 {
			if line, err := get.events.ReadString('\n'); err != nil || !strings.HasPrefix(line, ":") {
				t.Fatalf("%s: %q %v", w.path, line, err)
			}
		}
	}
}

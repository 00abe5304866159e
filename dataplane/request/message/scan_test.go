package message_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

const modernCall = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_weather","arguments":{"city":"Oslo"},` +
	`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},` +
	`"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/logLevel":"info","progressToken":"p1",` +
	`"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"a=b"}}}`

func scanned(t testing.TB, body string) *message.Envelope {
	t.Helper()
	var e message.Envelope
	if err := message.Scan([]byte(body), 64, &e); err != nil {
		t.Fatalf("Scan(%.200s): %v", body, err)
	}
	return &e
}

func TestScanTellsWhereThePartsStand(t *testing.T) {
	e := scanned(t, modernCall)
	body := []byte(modernCall)
	for _, c := range []struct {
		part string
		span message.Span
		want string
	}{
		{"id", e.ID, `7`},
		{"method", e.Method, `"tools/call"`},
		{"name", e.Name, `"get_weather"`},
		{"protocolVersion", e.Protocol, `"2026-07-28"`},
		{"clientCapabilities", e.Capabilities, `{}`},
		{"clientInfo", e.ClientInfo, `{"name":"c","version":"1"}`},
		{"logLevel", e.LogLevel, `"info"`},
		{"progressToken", e.ProgressToken, `"p1"`},
		{"traceparent", e.Traceparent, `"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"`},
		{"tracestate", e.Tracestate, `"a=b"`},
		{"uri", e.URI, ``},
		{"taskId", e.TaskID, ``},
		{"result", e.Result, ``},
	} {
		if got := string(c.span.Of(body)); got != c.want {
			t.Errorf("%s is %q, want %q", c.part, got, c.want)
		}
	}
	if e.Kind != message.Request || e.MethodString(body) != "tools/call" || e.NameString(body) != "get_weather" {
		t.Errorf("got %v %q %q", e.Kind, e.MethodString(body), e.NameString(body))
	}
	if got := string(e.Params.Of(body)); got != modernCall[strings.Index(modernCall, `{"name":"get`):len(modernCall)-1] {
		t.Errorf("params are %q", got)
	}
}

func TestScanTellsWhatListsCompletionsAndCancellationsAreAbout(t *testing.T) {
	text := `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"requestId":9007199254740993,"cursor":"\u0063","r\u0065f":` +
		`{"x":{"name":"no"},"type":"ref/prompt","name":"\u0070","uri":"file:\/\/a"},"argument":{"name":"n","cursor":"no"}}}`
	e, body := scanned(t, text), []byte(text)
	got := []string{e.CursorString(body), e.RefTypeString(body), e.RefNameString(body), e.RefURIString(body), string(e.CancelID.Of(body))}
	if want := []string{"c", "ref/prompt", "p", "file://a", "9007199254740993"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if e.Name.Present() || e.URI.Present() {
		t.Errorf("members of ref were taken for those of params: %+v", e)
	}
	text = `{"jsonrpc":"2.0","id":1,"method":"m","requestId":1,"cursor":"c","params":{"ref":"name","_meta":{"cursor":"c","requestId":2}}}`
	if e = scanned(t, text); e.Cursor.Present() || e.CancelID.Present() || e.RefName.Present() || e.RefType.Present() {
		t.Errorf("members of other objects were taken for those of params: %+v", e)
	}
}

func TestScanTellsKinds(t *testing.T) {
	for body, want := range map[string]message.Kind{
		`{"jsonrpc":"2.0","id":"a","method":"ping"}`:                                    message.Request,
		` { "method" : "ping" , "id" : -1.5e3 , "jsonrpc" : "2.0" } ` + "\r\n\t":        message.Request,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`:                        message.Notification,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}`: message.Notification,
		`{"jsonrpc":"2.0","id":3,"result":{}}`:                                          message.Response,
		`{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"m"}}`:                     message.Response,
		`{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}`:                  message.Response,
		`{"jsonrpc":"2.0","error":{"code":1,"message":"m"}}`:                            message.Response,
		`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`:                                    message.Batch,
		`[]`: message.Batch,
		`{"jsonrpc":"2.0","id":1,"method":"ping","params":null}`:                                                message.Request,
		`{"jsonrpc":"2.0","id":1,"method":"custom","params":[1]}`:                                               message.Request,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5,"_meta":null}}`:                       message.Request,
		`{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"a":1,"a":2,"s":"` + "\xff" + `\ud800"}}}`: message.Request,
	} {
		if e := scanned(t, body); e.Kind != want {
			t.Errorf("%s is a %v, want %v", body, e.Kind, want)
		}
	}
}

func TestScanRefusals(t *testing.T) {
	const parse, shape = fault.CodeParse, fault.CodeInvalidRequest
	for _, c := range []struct {
		name, body string
		code       int
		id         string
	}{
		{"nothing", ``, parse, ""},
		{"blanks", "  \n", parse, ""},
		{"byte order mark", "\xef\xbb\xbf{}", parse, ""},
		{"half an object", `{"jsonrpc":"2.0","id":1`, parse, ""},
		{"trailing bytes", `{"jsonrpc":"2.0","id":1,"method":"ping"} x`, parse, ""},
		{"two messages", `{"jsonrpc":"2.0","id":1,"method":"ping"}{}`, parse, ""},
		{"trailing comma", `{"jsonrpc":"2.0","id":1,"method":"ping",}`, parse, ""},
		{"leading comma", `{,"jsonrpc":"2.0"}`, parse, ""},
		{"trailing comma within", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"arguments":{"a":1,}}}`, parse, ""},
		{"trailing comma in an array", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"arguments":[1,]}}`, parse, ""},
		{"brackets that cross", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":[{]}}}`, parse, ""},
		{"comment", `{/**/"jsonrpc":"2.0","id":1,"method":"m"}`, parse, ""},
		{"bare word", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":nul}}`, parse, ""},
		{"leading zero", `{"jsonrpc":"2.0","id":01,"method":"m"}`, parse, ""},
		{"lonely minus", `{"jsonrpc":"2.0","id":-,"method":"m"}`, parse, ""},
		{"no digits after the point", `{"jsonrpc":"2.0","id":1.,"method":"m"}`, parse, ""},
		{"no digits in the exponent", `{"jsonrpc":"2.0","id":1e,"method":"m"}`, parse, ""},
		{"control character", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":{\"a\":\"\n\"}}", parse, ""},
		{"unknown escape", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\x"}}`, parse, ""},
		{"short escape", `{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\u12"}}`, parse, ""},
		{"unquoted name", `{jsonrpc:"2.0"}`, parse, ""},
		{"string alone that isn't closed", `"abc`, parse, ""},
		{"batch that isn't closed", `[{}`, parse, ""},

		{"scalar", `5`, shape, ""},
		{"text", `"hello"`, shape, ""},
		{"empty object", `{}`, shape, ""},
		{"no version", `{"id":1,"method":"m"}`, shape, "1"},
		{"another version", `{"jsonrpc":"1.0","id":1,"method":"m"}`, shape, "1"},
		{"version as a number", `{"jsonrpc":2.0,"id":1,"method":"m"}`, shape, "1"},
		{"neither method nor result", `{"jsonrpc":"2.0","id":1}`, shape, "1"},
		{"method and result", `{"jsonrpc":"2.0","id":1,"method":"m","result":{}}`, shape, "1"},
		{"result and error", `{"jsonrpc":"2.0","id":1,"result":{},"error":{}}`, shape, "1"},
		{"result without id", `{"jsonrpc":"2.0","result":{}}`, shape, ""},
		{"result with null id", `{"jsonrpc":"2.0","id":null,"result":{}}`, shape, ""},
		{"request with null id", `{"jsonrpc":"2.0","id":null,"method":"m"}`, shape, ""},
		{"id as an object", `{"jsonrpc":"2.0","id":{},"method":"m"}`, shape, ""},
		{"id as a truth", `{"jsonrpc":"2.0","id":true,"method":"m"}`, shape, ""},
		{"id that isn't UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"m\"}", shape, ""},
		{"method as a number", `{"jsonrpc":"2.0","id":1,"method":5}`, shape, "1"},
		{"params as a string", `{"jsonrpc":"2.0","id":1,"method":"m","params":"x"}`, shape, "1"},

		{"method twice", `{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}`, shape, "1"},
		{"method twice, once in disguise", `{"jsonrpc":"2.0","id":1,"method":"a","\u006dethod":"b"}`, shape, "1"},
		{"id twice", `{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}`, shape, ""},
		{"id twice, once in disguise", `{"jsonrpc":"2.0","id":1,"i\u0064":2,"method":"a"}`, shape, ""},
		{"stranger twice at the root", `{"jsonrpc":"2.0","id":1,"method":"a","x":1,"x":1}`, shape, "1"},
		{"name twice", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"x","name":"y"}}`, shape, "1"},
		{"arguments twice", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"arguments":{},"arguments":{}}}`, shape, "1"},
		{"_meta twice", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{},"_m\u0065ta":{}}}`, shape, "1"},
		{"member of _meta twice", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"traceparent":"","traceparent":""}}}`, shape, "1"},
		{"name of a member that isn't UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"\xff\":1}", shape, "1"},
		{"name of a member with half a pair", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"\ud800":1}}`, shape, "1"},
		{"method that isn't UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\xff\"}", shape, "1"},
		{"tool name that isn't UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":{\"name\":\"\xc3\"}}", shape, "1"},
		{"tool name with half a pair", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"\udc00"}}`, shape, "1"},
		{"ref twice", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"ref":{},"r\u0065f":{}}}`, shape, "1"},
		{"name twice in ref", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"ref":{"name":"x","name":"y"}}}`, shape, "1"},
		{"cursor twice", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"cursor":"x","cursor":"y"}}`, shape, "1"},
		{"cursor with half a pair", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"cursor":"\ud800"}}`, shape, "1"},
		{"name in ref with half a pair", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"ref":{"name":"\ud800"}}}`, shape, "1"},
		{"uri with halves the wrong way round", `{"jsonrpc":"2.0","id":1,"method":"a","params":{"uri":"\udc00\ud800"}}`, shape, "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e message.Envelope
			f := fault.As(message.Scan([]byte(c.body), 64, &e))
			if f == nil {
				t.Fatalf("accepted %s", c.body)
			}
			if f.JSONRPCCode() != c.code || f.HTTPStatus() != 400 || f.Hop != fault.Client || f.Phase != fault.Request {
				t.Errorf("got %d, status %d (%v), want %d", f.JSONRPCCode(), f.HTTPStatus(), f, c.code)
			}
			if got := string(e.ID.Of([]byte(c.body))); got != c.id {
				t.Errorf("the id for the answer is %q, want %q", got, c.id)
			}
			if e.Kind != message.Unknown && e.Kind != message.Batch {
				t.Errorf("kind is %v after a refusal", e.Kind)
			}
		})
	}
}

func TestScanSeesThroughEscapedNames(t *testing.T) {
	body := `{"jsonrp\u0063":"2.0","\u0069d":"\u0061","\u006dethod":"tools\/call","p\u0061rams":{"n\u0061me":"\uD83D\uDE00\n","_\u006deta":{"tr\u0061ceparent":"x"}}}`
	e := scanned(t, body)
	b := []byte(body)
	if e.MethodString(b) != "tools/call" || e.NameString(b) != "😀\n" || e.TraceparentString(b) != "x" || string(e.ID.Of(b)) != `"\u0061"` {
		t.Errorf("got %q %q %q %s", e.MethodString(b), e.NameString(b), e.TraceparentString(b), e.ID.Of(b))
	}
}

func TestNamesAreDecoded(t *testing.T) {
	for spelled, want := range map[string]string{
		`\ud83d\ude00`:              "😀",
		`a\ud83D\uDe00b`:            "a😀b",
		`\"\\\/\b\f\n\r\t\u0000`:    "\"\\/\b\f\n\r\t\x00",
		`\u00e9é`:                   "éé",
		`a-long-name-without-any`:   "a-long-name-without-any",
		`a-long-näme-without-any`:   "a-long-näme-without-any",
		`a-long-n\u0061me-with-one`: "a-long-name-with-one",
		``:                          "",
	} {
		body := `{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"` + spelled + `","uri":"` + spelled + `","taskId":"` + spelled + `"}}`
		e, b := scanned(t, body), []byte(body)
		if e.NameString(b) != want || e.URIString(b) != want || e.TaskIDString(b) != want {
			t.Errorf("%s is %q, want %q", spelled, e.NameString(b), want)
		}
	}
}

func TestScanIsCaseExact(t *testing.T) {
	body := `{"jsonrpc":"2.0","id":1,"method":"a","params":{"Name":"y","NAME":"z"}}`
	e := scanned(t, body)
	if e.MethodString([]byte(body)) != "a" || e.Name.Present() {
		t.Errorf("method %q, name %q", e.MethodString([]byte(body)), e.NameString([]byte(body)))
	}
}

// A server that matches names regardless of case would do something else than what was looked at.
func TestScanRefusesRoutedNamesInOtherCapitals(t *testing.T) {
	for _, body := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call"}`,
		`{"jsonrpc":"2.0","id":1,"method":"ping","m\u0045thod":"tools/call"}`,
		`{"jsonrpc":"2.0","id":1,"ID":2,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"Params":{"name":"b"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"param\u017f":{"name":"b"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"NAME":"b"}}`,
		`{"jsonrpc":"2.0","id":1,"params":{"name":"a","argumentS":{}},"method":"tools/call"}`,
		`{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"a","taskid":"b"}}`,
		`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a","Name":"b"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"Cursor":"b"}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"requestID":2}}`,
		`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"a","Name":"b"}}}`,
	} {
		var e message.Envelope
		f := fault.As(message.Scan([]byte(body), 64, &e))
		if f == nil || f.JSONRPCCode() != fault.CodeInvalidRequest || f.HTTPStatus() != 400 || f.Hint == "" {
			t.Errorf("%s: %v", body, f)
		}
	}
}

func TestScanBoundsDepth(t *testing.T) {
	nested := func(levels int) string { // the root and params are two levels
		n := levels - 2
		return `{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}}`
	}
	var e message.Envelope
	for _, limit := range []int{3, 64, 65, 128, 1024} {
		if err := message.Scan([]byte(nested(limit)), limit, &e); err != nil {
			t.Errorf("%d levels with limit %d: %v", limit, limit, err)
		}
		f := fault.As(message.Scan([]byte(nested(limit+1)), limit, &e))
		if f == nil || f.Kind != fault.TooLarge || f.HTTPStatus() != 400 || string(e.ID.Of([]byte(nested(limit+1)))) != "1" {
			t.Errorf("%d levels with limit %d: %v", limit+1, limit, f)
		}
	}
	if err := message.Scan([]byte(nested(64)), 0, &e); err != nil {
		t.Errorf("limit 0 should mean 64: %v", err)
	}
	if message.Scan([]byte(nested(65)), 0, &e) == nil || message.Scan([]byte(nested(1025)), 1<<20, &e) == nil {
		t.Error("limits 0 and 1<<20 should mean 64 and 1024")
	}
	if message.Scan([]byte(`{"jsonrpc":"2.0","id":1,"method":"m","params":{}}`), 1, &e) == nil {
		t.Error("params should count as a level")
	}
	if message.Scan([]byte(strings.Repeat("[", 1<<20)), 64, &e) == nil {
		t.Error("a million brackets were accepted")
	}
}

func TestScanManyNames(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"jsonrpc":"2.0","id":1,"method":"m","params":{`)
	for i := range 5000 {
		fmt.Fprintf(&b, `"k%d":%d,`, i, i)
	}
	many := b.String()
	e := scanned(t, many+`"name":"x","_meta":{"traceparent":"y"}}}`)
	if !e.Name.Present() || !e.Traceparent.Present() {
		t.Error("the name behind 5,000 others wasn't found")
	}
	for _, again := range []string{"k0", "k31", "k32", "k4999", `k\u0033`} {
		if message.Scan([]byte(many+`"`+again+`":1}}`), 64, e) == nil {
			t.Errorf("%s twice among 5,000 names was accepted", again)
		}
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	body := []byte(modernCall)
	var e message.Envelope
	n := testing.AllocsPerRun(100, func() {
		if message.Scan(body, 64, &e) != nil || e.MethodString(body) != "tools/call" {
			t.Error("refused")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzScan: what is accepted is JSON, and encoding/json reads the same id, method and members out of it; what is refused as no JSON isn't.
func FuzzScan(f *testing.F) {
	for _, s := range corpus {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var e message.Envelope
		err := message.Scan(body, 64, &e)
		if err != nil {
			if fault.As(err).JSONRPCCode() == fault.CodeParse && json.Valid(body) {
				t.Fatalf("refused as no JSON: %q: %v", body, err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("accepted, but not JSON: %q", body)
		}
		if e.Kind == message.Batch {
			return
		}
		root := object(t, body)
		same(t, e.ID.Of(body), root["id"], "id")
		same(t, e.Method.Of(body), root["method"], "method")
		same(t, e.Params.Of(body), root["params"], "params")
		sameText(t, e.MethodString(body), root["method"], "method")
		params := object(t, root["params"])
		same(t, e.Name.Of(body), params["name"], "name")
		same(t, e.URI.Of(body), params["uri"], "uri")
		same(t, e.TaskID.Of(body), params["taskId"], "taskId")
		same(t, e.Meta.Of(body), params["_meta"], "_meta")
		same(t, e.Cursor.Of(body), params["cursor"], "cursor")
		same(t, e.CancelID.Of(body), params["requestId"], "requestId")
		ref := object(t, params["ref"])
		same(t, e.RefType.Of(body), ref["type"], "ref.type")
		same(t, e.RefName.Of(body), ref["name"], "ref.name")
		same(t, e.RefURI.Of(body), ref["uri"], "ref.uri")
		if e.Method.Present() {
			sameText(t, e.NameString(body), params["name"], "name")
		}
		meta := object(t, params["_meta"])
		same(t, e.Protocol.Of(body), meta["io.modelcontextprotocol/protocolVersion"], "protocolVersion")
		same(t, e.Traceparent.Of(body), meta["traceparent"], "traceparent")
	})
}

// object decodes a JSON object; nil for any other value.
func object(t *testing.T, raw []byte) map[string]json.RawMessage {
	t.Helper()
	if len(raw) == 0 || raw[0] != '{' && !strings.HasPrefix(strings.TrimLeft(string(raw), " \t\r\n"), "{") {
		return nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", raw, err)
	}
	return m
}

func same(t *testing.T, got []byte, want json.RawMessage, what string) {
	t.Helper()
	if string(got) != string(want) {
		t.Fatalf("%s is %q, encoding/json reads %q", what, got, want)
	}
}

func sameText(t *testing.T, got string, raw json.RawMessage, what string) {
	t.Helper()
	var want string
	if len(raw) == 0 || raw[0] != '"' {
		raw = []byte(`""`)
	}
	if err := json.Unmarshal(raw, &want); err != nil || got != want {
		t.Fatalf("%s is %q, encoding/json reads %q (%v)", what, got, want, err)
	}
}

// corpus seeds the fuzz targets that read messages.
var corpus = []string{
	modernCall,
	`{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`,
	`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
	`{"method":"notifications/cancelled","params":{"requestId":1,"reason":"\u00e9\ud83d\ude00"},"jsonrpc":"2.0"}`,
	`{"jsonrpc":"2.0","id":9007199254740993,"method":"resources/read","params":{"uri":"test://a%20b\/c","_meta":{}}}`,
	`{"jsonrpc":"2.0","id":1.0,"result":{"content":[{"type":"text","text":"hi"}],"isError":true}}`,
	`{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"no"}}`,
	` { "jsonrpc" : "2.0" , "id" : 0 , "method" : "tasks/get" , "params" : { "taskId" : "t" , "_meta" : { "tracestate" : "" , "traceparent" : 5 } } } `,
	`{"jsonrpc":"2.0","id":1,"method":"m","params":{}}`,
	`{"jsonrpc":"2.0","id":1,"method":"m","params":{ }}`,
	`{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{}}}`,
	`{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":null}}`,
	`{"jsonrpc":"2.0","id":1,"method":"m","params":[{"a":[[],{}]}]}`,
	`{"jsonrpc":"2.0","\u006dethod":"m","i\u0064":"\"","x":-0.5E+10,"y":[true,false,null]}`,
	`[{"jsonrpc":"2.0","id":1,"method":"m"},{}]`,
	`{"jsonrpc":"2.0","id":2,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","n\u0061me":"p","uri":"u"},"cursor":"c","requestId":"r"}}`,
	`{"a":1,"a":2}`, `{"":""}`, `[`, `{`, `"\ud800"`, `-`, ``,
}

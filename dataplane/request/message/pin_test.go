package message_test

import (
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

func TestPinDoesNotDependOnSpelling(t *testing.T) {
	pin := message.Pin([]byte(`{"name":"a","inputSchema":{"n":1,"é":[]}}`))
	// The SHA-256 of {"inputSchema":{"n":1,"é":[]},"name":"a"}.
	if want := "450386f2dd79c2d2ecca1d024185ce1ed49ceec5ce293ebb20b39398eee26f97"; pin != want {
		t.Errorf("pin %s, want %s", pin, want)
	}
	for _, same := range []string{`{"inputSchema":{"\u00e9":[ ],"n":1.0},"name":"\u0061"}`, " {\"name\" : \"a\",\n\"inputSchema\":{\"n\":1E0,\"é\":[]}}\n"} {
		if got := message.Pin([]byte(same)); got != pin {
			t.Errorf("%s: %s, want %s", same, got, pin)
		}
	}
	seen := map[string]string{}
	for _, other := range []string{`{"name":"b"}`, `{"name":"b","x":null}`, `{"name":"b","x":[1,2]}`, `{"name":"b","x":[2,1]}`, `{"name":"b","name":"b"}`, `{"name":"b" ,"name":"b"}`, `{"name":"\ud800"}`, ``} {
		got := message.Pin([]byte(other))
		if was, twice := seen[got]; twice {
			t.Errorf("%s has the pin of %s", other, was)
		}
		seen[got] = other
	}
	raw := []byte(`{"b":1,"a":2}`)
	if message.Pin(raw); string(raw) != `{"b":1,"a":2}` {
		t.Errorf("the definition became %s", raw)
	}
}

package request

import (
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

// Red without Short: what a client says would stay in memory, megabytes for each list and stream.
func TestWhatAClientSaysOfItselfIsKeptShort(t *testing.T) {
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1","icons":[{"src":"` + strings.Repeat("x", 1<<20) + `"}]},` +
		`"io.modelcontextprotocol/clientCapabilities":{"roots":{},"experimental":{"x":"` + strings.Repeat("x", 1<<20) + `"}}}}}`)
	x := &exchange{era: message.Modern, body: body}
	if err := message.Scan(body, 0, &x.env); err != nil {
		t.Fatal(err)
	}
	capabilities, info := x.client()
	if string(capabilities) != `{"roots":{},"experimental":{}}` || string(info) != `{"name":"c","version":"1"}` {
		t.Errorf("%.100s, %.100s", capabilities, info)
	}
}

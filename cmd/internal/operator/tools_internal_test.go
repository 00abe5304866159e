package operator

import (
	"bytes"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What is missing is told with its cause, and what was left out of a list that came, too.
func TestWhatIsMissingIsTold(t *testing.T) {
	told := map[string]part{}
	failed(mcp.Meta{outcomes: map[string]any{
		"fine": map[string]any{"status": "ok"},
		"odd":  map[string]any{"status": "ok", "warning": "2 with the name of another"},
		"shut": map[string]any{"status": "unreachable", "error": "kind=circuit_open", "cause": "kind=unauthenticated"},
	}}, told)
	var out bytes.Buffer
	printMissing(&out, told)
	const want = "tools of odd: 2 with the name of another\n" +
		"tools of shut are missing: unreachable (kind=circuit_open), at last kind=unauthenticated\n"
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
}

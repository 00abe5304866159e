package request_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
)

// A caller who says that nothing more comes and reads on must not see half an answer closed as if it were whole.
func TestHalfClosedCallersSeeTheBreak(t *testing.T) {
	const part = 200 << 10
	up := mcptest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mcptest.Read(r)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{"x":"`+strings.Repeat("x", part))
		http.NewResponseController(w).Flush() //nolint:errcheck // the test sees what is missing
		<-r.Context().Done()
	}))
	g := start(t, one(up.URL))
	c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	fatal(t, err)
	defer c.Close()
	fatal(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	fmt.Fprintf(c, "POST /up/mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nMcp-Protocol-Version: 2025-06-18\r\nX-Litellm-Api-Key: %s\r\nContent-Length: %d\r\n\r\n%s", alice, len(list), list)
	first := make([]byte, part/2)
	_, err = io.ReadFull(c, first)
	fatal(t, err)
	fatal(t, c.(*net.TCPConn).CloseWrite())
	rest, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(first), "HTTP/1.1 200") || strings.HasSuffix(string(rest), "0\r\n\r\n") {
		t.Errorf("%.20q … %q", first, rest[max(0, len(rest)-20):])
	}
}

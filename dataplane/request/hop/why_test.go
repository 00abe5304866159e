package hop_test

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/mcptest"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

// Red when nobody is blamed: what is wrong with a server could then be read for the first five calls only.
func TestWhatIsWrongStaysReadableWhileTheBreakerIsOpen(t *testing.T) {
	stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	stranger.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	for _, c := range []struct {
		url, told string
		phase     fault.Phase
	}{
		{mcptest.RefusedURL(t), "connect/refused: the upstream's machine refused the connection", fault.Connect},
		{stranger.URL + "/mcp?key=hush", "tls/unauthenticated: the upstream's certificate is from an unknown authority", fault.TLS},
		{startResetting(t).url, "headers/reset: ", fault.Headers},
	} {
		h := newHop(t)
		s := instances(t, table.Resilience{BreakerFailures: 2, BreakerOpen: time.Minute}, c.url)
		for range 2 {
			if _, _, _, err := outcome(h, t.Context(), callOf(s)); fault.As(err) == nil || fault.As(err).Phase != c.phase {
				t.Fatal(err)
			}
		}
		_, _, _, err := outcome(h, t.Context(), callOf(s))
		f := fault.As(err)
		if f == nil || f.Kind != fault.CircuitOpen || !strings.Contains(f.Message, c.told) || fault.As(f.Err).Phase != c.phase {
			t.Errorf("%v", err)
		}
		open := h.OpenInstances(s)
		if len(open) != 1 || !strings.HasPrefix(open[0], s.Target.Masked+" ("+c.told) || strings.Contains(open[0], "hush") {
			t.Errorf("%q", open)
		}
		host, _, _ := net.SplitHostPort(s.Target.Host)
		if f != nil && strings.Contains(f.Message+f.Hint, host) {
			t.Errorf("the address is told to callers: %q %q", f.Message, f.Hint)
		}
	}
}

// Red when the request's own revision is all that is looked at.
func TestARefusalOfAnEraNamesTheRevisionInEffect(t *testing.T) {
	h := newHop(t)
	s := instances(t, table.Resilience{}, "http://127.0.0.1:1/mcp")
	s.Protocol = "modern"
	for requested, want := range map[string]string{"": "2025-11-25", "2025-03-26": "2025-03-26"} {
		f := fault.As(h.Mixed(s, message.Legacy, "tools/call", requested, time.Now()))
		if f == nil || !strings.Contains(f.Data, `"requested":"`+want+`"`) {
			t.Errorf("%q: %+v", requested, f)
		}
	}
}

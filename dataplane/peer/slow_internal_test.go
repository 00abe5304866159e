package peer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hopgate/hopgate/dataplane/table"
)

// What answers slowly, or byte by byte, is left when its time is over, however often something comes.
func TestAnAnswerThatDripsIsLeft(t *testing.T) {
	for what, answer := range map[string]func(c net.Conn){
		"silence": func(net.Conn) {},
		"drips": func(c net.Conn) {
			for _, b := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n") {
				time.Sleep(100 * time.Millisecond)
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
		},
		"half": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf") }, //nolint:errcheck // the test sees what is missing
	} {
		synctest.Test(t, func(t *testing.T) {
			h := new(table.Holder)
			h.Store(WithRing(t, "a"))
			p := &Peers{cfg: Config{Table: h, Now: time.Now}}
			here, there := net.Pipe()
			over := make(chan struct{})
			go func() {
				defer close(over)
				if _, err := http.ReadRequest(bufio.NewReader(there)); err == nil {
					answer(there)
				}
			}()
			began := time.Now()
			err := p.challenge(context.Background(), here, place{"http://10.0.0.5:4000", "A"})
			if took := time.Since(began); !errors.Is(err, errSlow) || took != proveTimeout {
				t.Errorf("%s: %v after %v", what, err, took)
			}
			here.Close()
			there.Close()
			<-over
		})
	}
}

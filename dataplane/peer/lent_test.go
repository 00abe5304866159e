package peer_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/hopgate/hopgate/dataplane/peer"
)

// borrowed is a body that is somebody else's once it was given back.
type borrowed struct {
	io.Reader
	back atomic.Bool
	late atomic.Int32
}

func (b *borrowed) Read(p []byte) (int, error) {
	if b.back.Load() {
		b.late.Add(1)
	}
	return b.Reader.Read(p)
}

// What an owner that answers before it has read the request goes on to take must not be the next request's bytes.
func TestABodyIsNotReadAfterItsRequest(t *testing.T) {
	goOn, done := make(chan struct{}), make(chan struct{})
	o := newOwner(t, "a", fine)
	early := relayTo(t, o, func(c net.Conn, r *bufio.Reader) {
		defer close(done)
		r.ReadByte()                                                               //nolint:errcheck // the request is there
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno") //nolint:errcheck // the test sees what is missing
		<-goOn
		io.Copy(io.Discard, c) //nolint:errcheck // until it is closed
	})
	in := message()
	const size = 32 << 20
	body := &borrowed{Reader: bytes.NewReader(make([]byte, size))}
	in.Body, in.Length = body, size
	p, w := peers(t, peer.Config{Table: holder(t, "a")}), httptest.NewRecorder()
	err := p.Forward(context.Background(), early, in, flusher{w})
	body.back.Store(true)
	close(goOn)
	<-done
	if err != nil || w.Code != 413 || body.late.Load() > 0 {
		t.Errorf("%v, %d: read %d times after its end", err, w.Code, body.late.Load())
	}
}

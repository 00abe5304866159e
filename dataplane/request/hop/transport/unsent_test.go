package transport_test

import (
	"context"
	"net"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/hop/transport"
)

func TestWhatFailedBeforeAByteLeftSaysSo(t *testing.T) {
	c := newClient(t, transport.Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := l.Addr().String()
	l.Close()
	if _, err := c.Do(context.Background(), targetAt(refusing), post(ping), nil); err == nil || !transport.Unsent(err) {
		t.Errorf("refused: %v", err)
	}
	silent := listen(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	if _, err := c.Do(context.Background(), targetAt(silent), post(ping), nil); err == nil || transport.Unsent(err) {
		t.Errorf("hung up after the first byte: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Do(ctx, targetAt(silent), post(ping), nil); transport.Unsent(err) {
		t.Errorf("given up: %v", err)
	}
}

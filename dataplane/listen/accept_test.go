package listen

import (
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
)

// exhausted is a socket that twice finds no descriptor for a connection, then brings one.
type exhausted struct {
	net.Listener
	conn  net.Conn
	calls int
}

func (e *exhausted) Accept() (net.Conn, error) {
	if e.calls++; e.calls < 3 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	if e.calls == 3 {
		return e.conn, nil
	}
	return nil, net.ErrClosed
}

// Running out of descriptors is a reason to wait, not to stop: callers cause it, and it passes when they leave.
func TestAcceptOutlivesExhaustion(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	l := &Listener{cfg: Config{MaxConnections: 1, Log: slog.New(slog.DiscardHandler)}}
	c, err := (&capped{Listener: &exhausted{conn: near}, l: l}).Accept()
	if err != nil || c != near {
		t.Errorf("%v, %v", c, err)
	}
}

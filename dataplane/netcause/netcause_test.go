package netcause_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/hopgate/hopgate/dataplane/netcause"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestErrorsAreReadThroughTheirWrapping(t *testing.T) {
	op := func(name string, err error) error { return fmt.Errorf("wrapped: %w", &net.OpError{Op: name, Err: err}) }
	for _, c := range []struct {
		err                          error
		timedOut, alert, cut, socket bool
	}{
		{err: context.DeadlineExceeded, timedOut: true},
		{err: op("read", os.ErrDeadlineExceeded), timedOut: true},
		{err: op("remote error", errors.New("tls: bad certificate")), alert: true},
		{err: op("read", io.EOF), cut: true},
		{err: op("read", syscall.ECONNRESET), cut: true},
		{err: op("write", syscall.EPIPE), cut: true},
		{err: io.ErrUnexpectedEOF, cut: true},
		{err: op("dial", syscall.EMFILE), socket: true},
		{err: op("dial", syscall.EADDRNOTAVAIL), socket: true},
		{err: op("dial", syscall.ECONNREFUSED)},
		{err: errors.New("else")},
	} {
		if netcause.TimedOut(c.err) != c.timedOut || netcause.Alert(c.err) != c.alert || netcause.Cut(c.err) != c.cut || netcause.NoSocket(c.err) != c.socket {
			t.Errorf("%v: timed out %v, alert %v, cut %v, no socket %v", c.err, netcause.TimedOut(c.err), netcause.Alert(c.err), netcause.Cut(c.err), netcause.NoSocket(c.err))
		}
	}
}

func TestARefusalSaysMore(t *testing.T) {
	for i, kinds := range [][]fault.Kind{{fault.Unreachable, fault.Unavailable}, {fault.Exhausted}, {fault.TimedOut, fault.Reset}, {fault.Refused}} {
		for _, k := range kinds {
			if netcause.Rank(k) != i {
				t.Errorf("%v has rank %d", k, netcause.Rank(k))
			}
		}
	}
}

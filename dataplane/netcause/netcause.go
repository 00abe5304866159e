// Package netcause reads the errors of connections: what the two clients of a data plane, hop/transport towards servers and egress towards
// authorization servers, must read alike.
//
// It promises answers by value only. It refuses to word them: what a failure is called depends on the peer, and each client has its own.
package netcause

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/hopgate/hopgate/proto/fault"
)

// TimedOut reports whether a time limit passed.
func TimedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// Alert reports whether the peer ended TLS with an alert; crypto/tls tells it only by the operation's name.
func Alert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// Cut reports whether the peer hung up.
func Cut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// NoSocket reports whether this machine has none left.
func NoSocket(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.ENOBUFS)
}

// Rank orders how connecting to several addresses of one host failed: the highest says most about the host.
func Rank(k fault.Kind) int {
	switch k {
	case fault.Refused:
		return 3
	case fault.TimedOut, fault.Reset:
		return 2
	case fault.Exhausted:
		return 1
	}
	return 0
}

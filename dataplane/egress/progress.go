package egress

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"
)

// exchange is one call of Do.
type exchange struct {
	request *Request
	caller  context.Context
	attempt int // done
	step    atomic.Int32
}

// answering reports whether a byte of an answer has come.
func (x *exchange) answering() bool { return x.step.Load() == stepAnswer }

// The steps a call is waiting in.
const (
	stepConnect = iota // or for a connection another call is making
	stepDNS
	stepTLS
	stepHead
	stepAnswer
)

type stepKey struct{}

// traced makes the call's steps known to it, also those of its dial.
func (x *exchange) traced(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, stepKey{}, x)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { x.step.Store(stepConnect) },
		GotConn: func(httptrace.GotConnInfo) { x.step.Store(stepHead) },

		GotFirstResponseByte: func() { x.step.CompareAndSwap(stepHead, stepAnswer) },
	})
}

// at notes the step that a dial has come to.
func at(ctx context.Context, step int32) {
	if x, ok := ctx.Value(stepKey{}).(*exchange); ok {
		x.step.CompareAndSwap(stepConnect, step)
		x.step.CompareAndSwap(stepDNS, step)
	}
}

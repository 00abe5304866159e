package process_test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/process"
)

func TestFirstSignalAsksSecondInsists(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		now := make(chan struct{})
		ctx, stop := process.Signals(t.Context(), func() { close(now) })
		defer stop()
		send(t, sig)
		wait(t, ctx.Done(), "first signal")
		select {
		case <-now:
			t.Fatal("the first signal already insisted")
		default:
		}
		send(t, sig)
		wait(t, now, "second signal")
		stop()
	}
}

func TestStopEndsTheContext(t *testing.T) {
	ctx, stop := process.Signals(t.Context(), nil)
	if ctx.Err() != nil {
		t.Error("ended at once")
	}
	stop()
	stop()
	wait(t, ctx.Done(), "stop")
}

func send(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), sig); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("nothing after %s", what)
	}
}

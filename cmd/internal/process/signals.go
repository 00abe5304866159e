package process

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Signals returns a context that ends with the first SIGINT or SIGTERM, which asks for a graceful end; the second calls now, which should
// end the process at once (nil: os.Exit(1)). stop gives the signals back and waits for the watcher; call it when the process is done.
func Signals(parent context.Context, now func()) (ctx context.Context, stop func()) {
	if now == nil {
		now = func() { os.Exit(1) }
	}
	ctx, cancel := context.WithCancel(parent)
	got := make(chan os.Signal, 2)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { watchSignals(got, done, cancel, now) })
	var once sync.Once
	return ctx, func() {
		once.Do(func() {
			signal.Stop(got)
			close(done)
			watcher.Wait()
			cancel()
		})
	}
}

func watchSignals(got <-chan os.Signal, done <-chan struct{}, first, second func()) {
	for _, act := range []func(){first, second} {
		select {
		case <-got:
			act()
		case <-done:
			return
		}
	}
}

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/hopgate/hopgate/cmd/internal/demo"
	"github.com/hopgate/hopgate/cmd/internal/process"
)

// serveDemoEnv turns this test binary into the demo server, a process of its own: what an operator's own instrumented server would be.
const serveDemoEnv = "E2E_SERVE_DEMO"

func TestMain(m *testing.M) {
	if os.Getenv(serveDemoEnv) != "" {
		if err := serveDemo(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	watchMachine()
	os.Exit(m.Run())
}

func serveDemo() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	tracing, err := process.StartTracing(ctx, process.TracingConfig{Service: "hopgate-demo", Instance: "demo", Log: log})
	if err != nil {
		return err
	}
	s := demo.New(demo.Config{Tracer: tracing.Provider()})
	if err := s.Open(ctx); err != nil {
		return err
	}
	fmt.Println("serving " + s.URL())
	g, err := process.NewGroup(process.GroupConfig{Log: log})
	if err != nil {
		return err
	}
	g.Add("traces", tracing.Run)
	g.Add("demo server", s.Run)
	return g.Run(ctx)
}

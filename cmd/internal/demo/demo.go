// Package demo is the MCP server that `hopgate up --demo` starts, so that the first minute needs nothing but Go.
//
// It promises a real server of both eras: sessions for 2025-03-26 to 2025-11-25, stateless 2026-07-28, with tools that answer, fail and take
// their time, each call traced as a span of its own under the gateway's. It refuses to listen
// anywhere but on 127.0.0.1, where it asks for no credential.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.opentelemetry.io/otel/trace"
)

// Config of a Server.
type Config struct {
	// Tracer makes the server's own spans; nil makes none.
	Tracer trace.TracerProvider
	// Version told to clients.
	Version string
}

// Server is the demo server. Open it, then Run it.
type Server struct {
	mcp    *mcp.Server
	http   *http.Server
	socket net.Listener
}

// New builds the server; it opens nothing.
func New(cfg Config) *Server {
	server := newServer(cfg)
	return &Server{mcp: server, http: &http.Server{Handler: handler(server), ReadHeaderTimeout: 10 * time.Second}}
}

// Open binds a free port of 127.0.0.1, so that URL is known.
func (s *Server) Open(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("demo server: %w", err)
	}
	s.socket = l
	return nil
}

// URL is the endpoint; only after Open.
func (s *Server) URL() string { return "http://" + s.socket.Addr().String() + "/mcp" }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.socket) }()
	select {
	case err := <-done:
		return fmt.Errorf("demo server: %w", err)
	case <-ctx.Done():
	}
	s.http.Close() //nolint:errcheck // nothing is lost with a demo
	for session := range s.mcp.Sessions() {
		session.Close() //nolint:errcheck // whoever opened it is gone
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("demo server: %w", err)
	}
	return nil
}

// handler sends each era to a handler of its own: the SDK's stateless one speaks 2026-07-28, its stateful one keeps sessions for the older
// revisions.
func handler(server *mcp.Server) http.Handler {
	same := func(*http.Request) *mcp.Server { return server }
	modern := mcp.NewStreamableHTTPHandler(same, &mcp.StreamableHTTPOptions{Stateless: true, PropagateRequestCancellation: true})
	legacy := mcp.NewStreamableHTTPHandler(same, &mcp.StreamableHTTPOptions{SessionTimeout: 10 * time.Minute})
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") == "2026-07-28" {
			modern.ServeHTTP(w, r)
			return
		}
		legacy.ServeHTTP(w, r)
	})
	return mux
}

func newServer(cfg Config) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "hopgate-demo", Version: cfg.Version}, &mcp.ServerOptions{
		Instructions: "A small server to try a gateway with. slow shows progress, fail shows a tool error.",
	})
	if cfg.Tracer != nil {
		s.AddReceivingMiddleware(traced(cfg.Tracer.Tracer("hopgate-demo")))
	}
	addTools(s)
	return s
}

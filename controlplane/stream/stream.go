// Package stream brings views to data planes: one sync session per data plane over one gRPC stream.
//
// It promises that Welcome comes first and always, that a data plane which holds the view already gets nothing more, that one which holds a
// known set, or that of a revision this replica remembers the way from, gets a delta and any other one the whole set, that an update is sent
// only after the one before was answered (whatever came meanwhile is merged: the newest view wins), and that memory is bounded by streams,
// not by the rate of changes.
// It refuses streams without a valid hello, more new streams a second than it can serve, and data planes that stop reading or answering:
// those streams are closed with a reason, and a new one starts from the digest it says. It never sends an older revision within an epoch
// than the data plane already has: a replica that lags behind waits until it has caught up.
package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/fleet"
	"github.com/hopgate/hopgate/controlplane/share"
	"github.com/hopgate/hopgate/controlplane/view"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// Config of a Server.
type Config struct {
	// Views are what is pushed; required.
	Views *view.Views
	// Fleet is told what data planes say; required.
	Fleet *fleet.Ledger
	// Shares hands out fleet-wide limits; default: none are handed out, and data planes keep what they have.
	Shares *share.Ledger
	// Replica is the name of this control plane in Welcome; required.
	Replica string
	// Barred are the SHA-256 of credentials that data planes must never pass on; they hear them in Welcome.
	Barred [][32]byte
	// Identify says who is at the other end; default: Hello, which believes the hello. FromCertificate believes the client certificate.
	Identify Identify
	// Refused says who is shut out: streams of these don't begin, see Reject for those that run; nil: nobody is.
	Refused Refused
	// ShutOut lists who is shut out, by name; relays are told, see TellShutOut. nil: they aren't. It must not wait.
	ShutOut func() []*syncv1.RevokedNode
	// NewStreams is how many new streams a second are taken, in bursts of as many. Default 500.
	NewStreams int
	// SendTimeout is how long one message (1 MiB at most) may take to be handed to the connection. Default 10 s.
	SendTimeout time.Duration
	// AckTimeout is how long the answer to an update may take after its last message. Default 30 s.
	AckTimeout time.Duration
	// MoveSpread is the longest delay that Drain asks a data plane to wait before it connects anew. Default 5 s.
	MoveSpread time.Duration
	// Registerer gets the metrics; nil: none.
	Registerer prometheus.Registerer
	// Log gets streams that end for a reason; default: slog.Default().
	Log *slog.Logger
	// Tracer makes the push and ack spans of changes; default: none.
	Tracer trace.TracerProvider
}

func (c *Config) fill() error {
	switch {
	case c.Views == nil:
		return errors.New("stream: config: Views is required")
	case c.Fleet == nil:
		return errors.New("stream: config: Fleet is required")
	case c.Replica == "":
		return errors.New("stream: config: Replica is required")
	}
	if c.Identify == nil {
		c.Identify = Hello
	}
	if c.Refused != nil {
		c.Identify = Admitting(c.Identify, c.Refused)
	}
	if c.NewStreams <= 0 {
		c.NewStreams = 500
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Tracer == nil {
		c.Tracer = noop.NewTracerProvider()
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.SendTimeout, 10 * time.Second}, {&c.AckTimeout, 30 * time.Second}, {&c.MoveSpread, 5 * time.Second}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return nil
}

// Server implements syncv1.SyncServiceServer.
type Server struct {
	syncv1.UnimplementedSyncServiceServer

	cfg     Config // read-only after New
	metrics metrics
	tracer  trace.Tracer
	admit   *rate.Limiter
	made    time.Time
	cut     chan struct{}  // closed when streams must end now
	wg      sync.WaitGroup // every stream and its goroutines

	joins sync.Mutex // held while a stream joins or leaves the ledgers, so that they see streams of one node in their order; taken before mu

	mu       sync.Mutex
	draining bool                  // guarded by mu
	sessions map[string]*session   // by node; guarded by mu
	crowds   map[view.Crowd]*crowd // guarded by mu

	sorted atomic.Pointer[view.Crowds] // that the sessions are in; stored under mu
}

// New returns a server without streams.
func New(cfg Config) (*Server, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:      cfg,
		tracer:   cfg.Tracer.Tracer("github.com/hopgate/hopgate/controlplane/stream"),
		admit:    rate.NewLimiter(rate.Limit(cfg.NewStreams), cfg.NewStreams),
		made:     time.Now(),
		cut:      make(chan struct{}),
		sessions: map[string]*session{},
		crowds:   map[view.Crowd]*crowd{},
	}
	sorted := cfg.Views.Crowds()
	s.sorted.Store(&sorted)
	return s, s.register()
}

// Sync serves one data plane until its stream ends.
func (s *Server) Sync(stream syncv1.SyncService_SyncServer) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.wg.Done()
	sess := newSession(s, stream)
	defer close(sess.done)
	s.wg.Go(sess.receive)
	if err := sess.open(); err != nil {
		s.metrics.refused.WithLabelValues(status.Code(err).String()).Inc()
		return err
	}
	defer sess.close()
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	err := sess.run()
	s.ended(sess, err)
	return err
}

// enter admits a new stream; it is over with wg.Done.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		s.metrics.refused.WithLabelValues(codes.Unavailable.String()).Inc()
		return status.Error(codes.Unavailable, "this control plane is shutting down; connect to another one")
	}
	if !s.admit.Allow() {
		s.metrics.refused.WithLabelValues(codes.ResourceExhausted.String()).Inc()
		return tooMany()
	}
	s.wg.Add(1)
	return nil
}

// ended counts and logs why a stream ended.
func (s *Server) ended(sess *session, err error) {
	code := status.Code(err)
	s.metrics.ended.WithLabelValues(code.String()).Inc()
	level := slog.LevelDebug
	if err != nil && code != codes.Canceled {
		level = slog.LevelWarn
	}
	s.cfg.Log.LogAttrs(context.Background(), level, "sync stream ended", slog.String("node", sess.joined.Node),
		slog.String("scope", sess.joined.Scope.String()), slog.Any("error", err))
}

// add makes a session the one of its node; an older one of the same name is closed.
func (s *Server) add(sess *session) {
	s.joins.Lock()
	defer s.joins.Unlock()
	s.enlist(sess)
	s.judge(sess) // it may have been shut out since it was identified
	sess.member = s.cfg.Fleet.Join(sess.joined)
	if s.cfg.Shares != nil {
		sess.shares = s.cfg.Shares.Join(sess.joined.Node, sess.wake)
	}
}

func (s *Server) enlist(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.regroupLocked() // before it is listed: it is in no crowd yet
	if old := s.sessions[sess.joined.Node]; old != nil {
		old.end(status.Errorf(codes.Aborted, "another stream of data plane %q took over; if that is another process, give each its own name", sess.joined.Node))
	}
	s.sessions[sess.joined.Node] = sess
	s.gather(sess, s.sorted.Load().Of(sess.joined.Scope))
	if s.draining {
		sess.move(s.farewell())
	}
}

func (s *Server) remove(sess *session) {
	s.joins.Lock()
	defer s.joins.Unlock()
	s.delist(sess)
	sess.member.Leave()
	if sess.shares != nil {
		sess.shares.Leave()
	}
}

func (s *Server) delist(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[sess.joined.Node] == sess {
		delete(s.sessions, sess.joined.Node)
	}
	s.disperse(sess, true)
}

// Drain refuses new streams, asks every data plane to connect elsewhere after a random delay, and returns when all streams have ended. When
// ctx ends first, the streams left are cut, and the error says how many.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for _, sess := range s.sessions {
		sess.move(s.farewell())
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	err := s.cutAll(ctx)
	<-done
	return err
}

func (s *Server) cutAll(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.cut:
	default:
		close(s.cut)
	}
	return fmt.Errorf("stream: %d streams were cut: %w", len(s.sessions), ctx.Err())
}

func (s *Server) farewell() *syncv1.Move {
	return &syncv1.Move{Reason: "this control plane is shutting down", DelayMs: int32(rand.N(s.cfg.MoveSpread).Milliseconds())}
}

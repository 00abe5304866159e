// Package api is the admin API: who may read and change the config of the fleet, over gRPC and REST on one port.
//
// It promises that every write is authenticated, checked as a whole, compared-and-set and recorded, that all ways to write (Put, Update,
// Delete, CreateChange, over gRPC or REST) end in the same commit, that a read after a write sees it, and that every write and every
// refusal leaves one audit line. History is read from the change records: what differs between two points, and the change that undoes
// another. A revert touches the objects of that change alone, and none that was changed since unless it is forced; a prune deletes only what
// belongs to the set that is applied. A staged change is stored with its rollout in one write, and until that has ended nobody else writes its
// objects.
// It refuses blind writes, callers without the role admin or viewer, kinds that operators don't write (sealing rings are neither listed
// nor accepted), unknown fields, unknown query parameters, and bodies above 4 MiB. No secret appears in an answer, a log line or a span: the
// value of a Secret is taken in, sealed before anything is stored, and never given back, sealed or not.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/rollout"
	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/view"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// BodyLimit is the largest request in bytes, REST body and gRPC message alike.
const BodyLimit = 4 << 20

// Index is the stored config as this replica sees it: it may lag behind the store, and WaitRevision says when it has caught up.
// It is safe for concurrent use.
type Index interface {
	// Get returns one head.
	Get(kind, name string) (store.Head, bool)
	// List returns at most n heads of a kind with names after the given one, in name order.
	List(kind, after string, n int) []store.Head
	// Revision is the store revision the index stands at.
	Revision() int64
	// WaitRevision returns once the index stands at rev or later, or with the context's error.
	WaitRevision(ctx context.Context, rev int64) error
}

// Fleet is what the data planes said. It is safe for concurrent use.
type Fleet interface {
	// ObjectStatus says how the fleet took an object as it is pushed.
	ObjectStatus(o confset.Object) *configv1.ObjectStatus
	// ScopedStatus is the same for an object that only some data planes get, stored at a revision: who is past it and doesn't hold the object
	// isn't counted.
	ScopedStatus(o confset.Object, revision int64) *configv1.ObjectStatus
	// Delivery says how the fleet took the objects as of a revision.
	Delivery(revision int64, objects []confset.Key) *adminv1.Delivery
	// Nodes returns every data plane, in node order.
	Nodes() []*adminv1.Node
	// Listen calls hear with every data plane that comes, goes or stands otherwise than before, until stop is called. hear returns at once.
	Listen(hear func(*adminv1.Node)) (stop func())
}

// State is how the index stands to the store, and what it hears from there. It is safe for concurrent use; *view.Views is one.
type State interface {
	// Status tells what is held and how long the store has been out of reach.
	Status() view.Status
	// ConfirmCount lets removals pass if exactly n are held, and returns how many were.
	ConfirmCount(n int) (held int, ok bool)
	// Listen calls hear with every change that reaches this replica, until stop is called. hear returns at once.
	Listen(hear func(view.Told)) (stop func())
}

// KeyFinder looks an API key up by the SHA-256 of the whole key.
type KeyFinder func(sha256 [32]byte) (key Key, ok bool)

// Key is what admission needs to know of an API key.
type Key struct {
	Name    string
	Roles   []string
	Expires time.Time // zero: never
}

// Config of a Server.
type Config struct {
	// Store, Index, Fleet, Gate and KEK are required. KEK seals the values of secrets.
	Store store.Store
	Index Index
	Fleet Fleet
	Gate  *admit.Gate
	KEK   *secret.KEK
	// State is the rest of what the index knows; nil: nothing is held, the store is in reach, and no changes are told.
	State State
	// Home says where a relay gets its config from, host:port, and how long that has been out of reach; nil: this is no relay.
	Home func() (upstream string, stale time.Duration)
	// Opened says that stored objects are as they are pushed, with the values of secrets readable, as in a relay. Callers don't see these.
	Opened bool
	// Keys finds API keys; nil: only the master key is known.
	Keys KeyFinder
	// MasterKey is the SHA-256 of the master key; zero: there is none.
	MasterKey [32]byte
	// Live says how each region stands to a rollout; nil: nobody knows.
	Live func(*rollout.State) []*adminv1.RolloutRegion
	// Waits says what keeps an open rollout from going on; nil: nobody knows.
	Waits func(*rollout.State) string
	// Rotate gives the ring of sessions a new key in the name of an author, and says what it did; "" when that is under way already. With drop the
	// keys of now go as soon as the new one seals. nil: nobody does, and callers are told so.
	Rotate func(ctx context.Context, author string, drop bool) (did string, err error)
	// Ready says why this process isn't ready, for /readyz; nil function or nil error: it is.
	Ready func() error
	// Version of the program and name of this replica, for GetInfo.
	Version, Replica string
	// Log gets the audit lines; default: slog.Default().
	Log *slog.Logger
	// Tracer makes the spans of changes; default: none.
	Tracer trace.TracerProvider
	// Now is the clock; default: time.Now.
	Now func() time.Time
}

func (c *Config) fill() error {
	switch {
	case c.Store == nil:
		return errors.New("api: config: Store is required")
	case c.Index == nil:
		return errors.New("api: config: Index is required")
	case c.Fleet == nil:
		return errors.New("api: config: Fleet is required")
	case c.Gate == nil:
		return errors.New("api: config: Gate is required")
	case c.KEK == nil:
		return errors.New("api: config: KEK is required")
	}
	if c.Keys == nil {
		c.Keys = func([32]byte) (Key, bool) { return Key{}, false }
	}
	if c.State == nil {
		c.State = stateless{}
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Tracer == nil {
		c.Tracer = noop.NewTracerProvider()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// Server answers the admin API.
type Server struct {
	cfg   Config
	guard *guard
	inner *inner
	front http.Handler
	desk  *desk
}

// New checks the config and builds the server. Nothing runs before Run.
func New(cfg Config) (*Server, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	g := newGuard(cfg)
	svc := newService(cfg)
	in, err := newInner(svc, g)
	if err != nil {
		return nil, err
	}
	front, err := newFront(cfg, g, in, svc.desk)
	if err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, guard: g, inner: in, front: front, desk: svc.desk}, nil
}

// Run carries REST calls to the gRPC service until ctx ends, then lets running calls finish. REST answers only while it runs.
func (s *Server) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.EndWatches)()
	return s.inner.run(ctx)
}

// EndWatches ends every watch and lets none begin any more, so that a listener can be shut down. It may be called more than once.
func (s *Server) EndWatches() { s.desk.close() }

// Handler serves gRPC (HTTP/2 with content-type application/grpc) and REST on one port. On a plaintext port the http.Server needs
// unencrypted HTTP/2 switched on for gRPC.
func (s *Server) Handler() http.Handler { return s.front }

// Package relay is the store of a region's relay: a control plane whose content comes over the sync stream from the control planes at home.
//
// It promises that data planes of the region get the set that home has for the region, with home's epoch and revisions; that what it holds is
// on disk, sealed with the key-encryption key, before anybody gets it and before home hears the answer; and that a relay that starts while
// home can't be reached serves that copy at once, however old it is. Stale says how old.
//
// Who home shuts out is shut out here, too, also after a restart without home. A relay that has an authority of its own (Certified) keeps join
// tokens for its region, and who joined with them, sealed beside the copy.
//
// It refuses all other writes and questions about changes, with a sentence that says where to ask; a copy that doesn't open, which is set aside and
// named in the log; a set that isn't what its digest says; a revision older than the one it holds of the same epoch; and a whole set of another
// epoch that lacks more than a fifth and more than ten of the objects, or every server: home's store may have lost its content.
//
// Home counts the relay as one data plane when it shares out limits. The relay hands its region that even share and no more: it reports no
// demand, so home can't give it more where the region has more callers, and shares that home names for single limits are not followed.
package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// Conn is one connection to a control plane; *grpc.ClientConn is one.
type Conn interface {
	grpc.ClientConnInterface
	io.Closer
}

// Config says whom a relay follows. All but Group, Version, MaxUpdate, Registerer and Log are required.
type Config struct {
	// Upstreams are the sync addresses of the control planes at home, tried in turn.
	Upstreams []string
	// Dial makes a connection without waiting for it. It is called for every attempt, and what it returns is closed after it.
	Dial func(address string) (Conn, error)
	// Node is the name of this relay, unique in the fleet; Region and Group say where it stands.
	Node, Region, Group string
	// Version of the program.
	Version string
	// File keeps the copy, mode 0600.
	File string
	// KEK seals the copy.
	KEK *secret.KEK
	// MaxUpdate is the most bytes that the parts of one update may have together. Default 256 MiB.
	MaxUpdate int
	// Registerer gets the metrics; nil: none.
	Registerer prometheus.Registerer
	// Log gets changes of state. Default: discarded.
	Log *slog.Logger
}

func (c *Config) fill() error {
	for _, required := range []struct {
		field string
		ok    bool
	}{
		{"Upstreams", len(c.Upstreams) > 0}, {"Dial", c.Dial != nil}, {"Node", c.Node != ""}, {"Region", c.Region != ""}, {"File", c.File != ""}, {"KEK", c.KEK != nil},
	} {
		if !required.ok {
			return fmt.Errorf("relay: config: %s is required", required.field)
		}
	}
	if c.MaxUpdate <= 0 {
		c.MaxUpdate = 256 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// version is what home had at one moment. It is immutable.
type version struct {
	epoch       string
	revision    int64
	set         *confset.Set
	change      string // id of the newest change; empty: unknown
	traceparent string
}

// Store holds what home sent last. Open it, and Close it at the end; one view at a time may watch it.
type Store struct {
	cfg     Config // read-only after New
	bootID  string
	done    chan struct{} // closed by Close
	joining sync.Mutex    // held over a Commit; taken before mu
	once    sync.Once
	cancel  context.CancelFunc // set by Open
	ended   sync.WaitGroup

	mu        sync.Mutex
	moved     chan struct{} // closed and replaced when now or part moves; guarded by mu, as all below
	now       *version      // nil: nothing was ever received
	handed    *version      // what the view has; nil: nothing
	explained []confset.Key // removals between the last two loads, all of which home asked for
	part      int32         // share of each limit for the region, in millionths; 0: home never said
	barred    [][]byte
	counts    func() (connected, behind int)
	connected bool
	address   string
	lostAt    time.Time
	held      string                         // why the newest update isn't taken
	shut      map[string]*syncv1.RevokedNode // who is shut out, by name; replaced, never changed
	onShut    func()
	local     map[confset.Key]store.Head // replaced, never changed
	turn      int64                      // revision of the newest of them
}

// New checks cfg. Nothing is read or dialed before Open.
func New(cfg Config) (*Store, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, bootID: rand.Text(), done: make(chan struct{}), moved: make(chan struct{}), address: cfg.Upstreams[0], lostAt: time.Now(),
		counts: func() (int, int) { return 0, 0 }, onShut: func() {}, local: map[confset.Key]store.Head{}}
	return s, s.register()
}

func (s *Store) register() error {
	if s.cfg.Registerer == nil {
		return nil
	}
	stale := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hopgate_relay_upstream_stale_seconds",
		Help: "How long no control plane at home has been reached; 0 while one is."}, func() float64 { _, d := s.Home(); return d.Seconds() })
	if err := s.cfg.Registerer.Register(stale); err != nil {
		return fmt.Errorf("relay: register metrics: %w", err)
	}
	return nil
}

// Open reads the copy and starts to follow home. A copy that can't be used is set aside and is no error. It must be called once.
func (s *Store) Open(ctx context.Context) error {
	held, err := s.recall()
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	if err := errors.Join(s.recallShutOut(), s.recallLocal()); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	s.mu.Lock()
	s.now = held
	s.mu.Unlock()
	following, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.ended.Go(func() { s.follow(following) })
	return nil
}

// Close ends the stream and every call that waits. It may be called again.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.done)
		if s.cancel != nil {
			s.cancel()
		}
	})
	s.ended.Wait()
	return nil
}

// Stale says whether a control plane at home answers, and since when none does: since the start when none ever did.
func (s *Store) Stale() (since time.Time, connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.connected {
		return time.Time{}, true
	}
	return s.lostAt, false
}

// Home returns the address that is or was followed last, and how long home has been out of reach; 0: it isn't.
func (s *Store) Home() (upstream string, stale time.Duration) {
	since, connected := s.Stale()
	s.mu.Lock()
	upstream = s.address
	s.mu.Unlock()
	if !connected {
		stale = time.Since(since)
	}
	return upstream, stale
}

// Held says why the newest update of home isn't taken although it is what it says; empty: none is held.
func (s *Store) Held() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// Barred are the SHA-256 of credentials that home wants passed on nowhere; the data planes of the region are to hear them too.
func (s *Store) Barred() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.barred
}

// Report sets where the numbers of data planes come from that home is told.
func (s *Store) Report(counts func() (connected, behind int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts = counts
}

// note changes what mu guards and wakes who waits for it.
func (s *Store) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.moved)
	s.moved = make(chan struct{})
}

// version returns what is held and a channel that is closed when something moves.
func (s *Store) version() (now, handed *version, moved <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.handed, s.moved
}

// elsewhere is the answer to what only home can do. It is a status, so that the API passes the sentence on.
func (s *Store) elsewhere() error {
	return status.Errorf(codes.Unavailable, "this is the relay of region %s, which only reads; write to the control plane at home (%s is where this relay follows it), and ask there for changes",
		s.cfg.Region, strings.Join(s.cfg.Upstreams, ", "))
}

var errClosed = errors.New("the relay is closed")

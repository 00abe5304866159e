// Package enroll gives a data plane its certificate: from a join token at first, and from the certificate before after that.
//
// It promises that a restart needs no token, that a certificate is renewed at two thirds of its life, tried again until that succeeds, and that
// key, certificate and authorities are in one file of mode 0600 which is there as a whole or not at all. Nothing that happens here stops traffic:
// without a good certificate no updates come, and that is all. It refuses control planes whose certificate doesn't lead to the authority that
// the token names, before anything is sent to them, certificates that lead elsewhere or stand for another place than the ones before, and state
// of another data plane. Whom to trust only home may change, never a relay. The token is in no log and in no file.
package enroll

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

const (
	askWithin  = 15 * time.Second // one try
	retryLeast = time.Second
	retryMost  = time.Minute
	endedPause = 10 * time.Minute // between tries that can hardly succeed
)

// Config of an Enroller.
type Config struct {
	// Node is the name of this data plane; required.
	Node string
	// Dir is its state directory; required.
	Dir string
	// Addresses are sync addresses of control planes, tried in turn. At least one.
	Addresses []string
	// Token to join with; zero: a certificate must be stored already.
	Token jointoken.Token
	// Relay is set for a region's relay; nil: it is a data plane's.
	Relay *Relay
	// Ask makes one call; default: Call.
	Ask func(ctx context.Context, address string, cfg *tls.Config, r *syncv1.EnrollRequest) (*syncv1.EnrollResponse, error)
	// Log gets what happens to the certificate; default: slog.Default().
	Log *slog.Logger
	// Now is the clock; default: time.Now.
	Now func() time.Time
}

// Enroller keeps the certificate of one data plane. Start it, then Run it. It is safe for concurrent use.
type Enroller struct {
	cfg     Config
	current atomic.Pointer[identity]
}

// New checks the config. Errors name the field.
func New(cfg Config) (*Enroller, error) {
	switch {
	case cfg.Node == "":
		return nil, errors.New("enroll: config: Node is required")
	case cfg.Dir == "":
		return nil, errors.New("enroll: config: Dir is required")
	case len(cfg.Addresses) == 0:
		return nil, errors.New("enroll: config: Addresses is required")
	}
	if cfg.Ask == nil {
		cfg.Ask = Call
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Enroller{cfg: cfg}, nil
}

// Stored says whether a state directory has a certificate.
func Stored(dir string) bool {
	_, err := os.Stat(file(dir))
	return err == nil
}

// Start takes the stored certificate into use, also one that has ended. Without one it joins, and tries again until ctx ends or a control plane
// refuses. What is stored but can't be read is an error without a token, and replaced with one.
func (e *Enroller) Start(ctx context.Context) error {
	id, err := load(e.cfg.Dir, e.cfg.Relay)
	switch {
	case err == nil && id.node != e.cfg.Node:
		return fmt.Errorf("%s holds the certificate of data plane %q, not of %q; give each data plane its own state directory", file(e.cfg.Dir), id.node, e.cfg.Node)
	case err == nil:
		e.current.Store(id)
		if e.ended() {
			e.cfg.Log.Warn("the stored certificate has ended: no updates come until there is another one; traffic goes on", "node", id.node, "ended", id.leaf.NotAfter)
		}
		return e.use(id)
	case e.cfg.Token.Zero():
		return fmt.Errorf("no certificate is stored, and no join token is given: %w", err)
	}
	for pause := time.Duration(0); ; {
		err := e.enroll(ctx, true)
		if err == nil || final(err) || ctx.Err() != nil {
			return err
		}
		pause = longer(pause)
		e.cfg.Log.WarnContext(ctx, "can't join yet; trying again", "error", err, "wait", pause.Round(time.Millisecond))
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// Region and Group say where this data plane stands, as its certificate has it; after Start.
func (e *Enroller) Region() string { return e.current.Load().region }

// Group within the region; may be empty.
func (e *Enroller) Group() string { return e.current.Load().group }

// Expires is when the certificate ends; after Start.
func (e *Enroller) Expires() time.Time { return e.current.Load().leaf.NotAfter }

// TLS is that of the next connection to a control plane; after Start.
func (e *Enroller) TLS() *tls.Config {
	id := e.current.Load()
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: id.pool(), Time: e.cfg.Now, VerifyConnection: ofRegion(id.region),
		Certificates: []tls.Certificate{{Certificate: id.chain, PrivateKey: id.key, Leaf: id.leaf}}}
}

// enroll asks control planes in turn until one gives a certificate or refuses for good.
func (e *Enroller) enroll(ctx context.Context, join bool) error {
	k, csr, err := request(e.cfg.Node, nil)
	if err != nil {
		return err
	}
	r := &syncv1.EnrollRequest{Node: e.cfg.Node, Csr: csr}
	ca, err := e.asks(r)
	if err != nil {
		return err
	}
	var errs []error
	for _, address := range e.cfg.Addresses {
		cfg := pinned(e.cfg.Token.Pin, hostOf(address), e.cfg.Now)
		relay := &atomic.Bool{}
		if r.Token = e.cfg.Token.Reveal(); !join {
			r.Token, cfg = "", noting(e.TLS(), relay)
		}
		res, err := e.ask(ctx, address, cfg, r)
		if err == nil {
			return e.take(k, ca, res, join, relay.Load())
		}
		errs = append(errs, fmt.Errorf("%s: %w", address, err))
		if final(err) {
			break
		}
	}
	return errors.Join(errs...)
}

func (e *Enroller) ask(ctx context.Context, address string, cfg *tls.Config, r *syncv1.EnrollRequest) (*syncv1.EnrollResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return e.cfg.Ask(ctx, address, cfg, r)
}

// take checks, stores and uses what a control plane gave.
func (e *Enroller) take(k, ca key, res *syncv1.EnrollResponse, join, relay bool) error {
	id, err := answered(k, res)
	if err == nil && id.node != e.cfg.Node {
		err = fmt.Errorf("the certificate that came is for %q", id.node)
	}
	if err == nil && join && !id.trusts(e.cfg.Token.Pin) {
		err = errors.New("the authorities that came don't have the one of the token among them")
	}
	if err == nil && !join {
		err = id.succeeds(e.current.Load(), relay)
	}
	if err == nil {
		err = id.proven()
	}
	if err == nil {
		err = id.empowered(ca, res.GetAuthority())
	}
	if err == nil {
		err = id.save(e.cfg.Dir, e.cfg.Relay)
	}
	if err != nil {
		return err
	}
	e.current.Store(id)
	e.cfg.Log.Info("new certificate", "node", id.node, "region", id.region, "group", id.group, "ends", id.leaf.NotAfter)
	return e.use(id)
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// final says whether trying the same again soon makes no sense.
func final(err error) bool {
	var s interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &s) {
		return errors.Is(err, errOtherAuthority)
	}
	switch s.GRPCStatus().Code() {
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument, codes.AlreadyExists, codes.FailedPrecondition, codes.Unimplemented:
		return true
	}
	return false
}

// longer is the next wait: random between the least and three times the last.
func longer(last time.Duration) time.Duration {
	return min(retryMost, retryLeast+rand.N(3*max(last, retryLeast)))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

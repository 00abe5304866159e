package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// What an embedded member takes. Two operations per object (head and body) and a handful for the rest fit a transaction.
const (
	embeddedObjects      = 1000
	embeddedBytes        = 3 << 19 // 1.5 MiB
	embeddedOps          = 2*embeddedObjects + 48
	embeddedRequestBytes = 4 << 20
)

// EmbeddedConfig says where an embedded member keeps its data.
type EmbeddedConfig struct {
	// Dir holds the member's log and database. It is made (0700) when missing and locked while open. Required.
	Dir string
	// QuotaBytes is how large the database may grow before writes are refused. Default 1 GiB.
	QuotaBytes int64
	// StartWithin bounds Open. Default 60 s: a large database takes seconds.
	StartWithin time.Duration
	// CommitWithin bounds a commit. Default 10 s: a local disk may be slow, but nothing else can be in the way.
	CommitWithin time.Duration
	// Log gets etcd's errors, and its warnings as debug lines. Default: discard.
	Log *slog.Logger
}

// Embedded returns a store in an etcd member inside this process. The member listens on no port; its client calls it directly.
//
// Two side effects of etcd can't be had away: it registers its metrics with Prometheus' default registry when it is linked in, so a
// metrics page must have its own registry; and on damage it can't repair it logs and exits the process.
func Embedded(cfg EmbeddedConfig) (*Store, error) {
	if cfg.Dir == "" {
		return nil, errors.New("embedded etcd: dir is empty; name the directory that holds the data")
	}
	cfg.QuotaBytes = orDefault(cfg.QuotaBytes, 1<<30)
	cfg.StartWithin = orDefault(cfg.StartWithin, time.Minute)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &member{cfg: cfg}
	return newStore(backend{
		start: m.start, stop: m.stop, log: cfg.Log, alone: true,
		ready:  func(context.Context, *clientv3.Client) error { return nil },
		limits: store.Limits{Objects: embeddedObjects, Bytes: embeddedBytes},
		maxOps: embeddedOps, requestBytes: embeddedRequestBytes,
		commitWithin: orDefault(cfg.CommitWithin, 10*time.Second), readWithin: 30 * time.Second,
		progress: progressEvery, silence: time.Minute,
	}), nil
}

// member is the etcd of this process. Its methods are called one at a time.
type member struct {
	cfg  EmbeddedConfig
	lock *fileutil.LockedFile
	etcd *embed.Etcd
}

func (m *member) start(ctx context.Context) (*clientv3.Client, error) {
	if err := m.lockDir(); err != nil {
		return nil, err
	}
	e, err := embed.StartEtcd(m.config())
	if err != nil {
		m.stop()
		return nil, fmt.Errorf("start embedded etcd in %s: %w", m.cfg.Dir, err)
	}
	m.etcd = e
	ctx, cancel := context.WithTimeout(ctx, m.cfg.StartWithin)
	defer cancel()
	select {
	case <-e.Server.ReadyNotify():
		return v3client.New(e.Server), nil
	case <-e.Server.StopNotify():
		err = errors.New("it stopped")
	case <-ctx.Done():
		err = ctx.Err()
	}
	m.stop()
	return nil, fmt.Errorf("start embedded etcd in %s: %w: %w", m.cfg.Dir, store.ErrUnavailable, err)
}

// lockDir keeps a second process out; etcd itself would wait for the first one without a word.
func (m *member) lockDir() error {
	if err := os.MkdirAll(m.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("embedded etcd: %w", err)
	}
	path := filepath.Join(m.cfg.Dir, "lock")
	lock, err := fileutil.TryLockFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return fmt.Errorf("embedded etcd: %s is in use by another process; stop that one or use another data directory", m.cfg.Dir)
	}
	if err != nil {
		return fmt.Errorf("embedded etcd: lock %s: %w", path, err)
	}
	m.lock = lock
	return nil
}

// config describes a member that is alone: its peer address is a name that nobody dials.
func (m *member) config() *embed.Config {
	nowhere := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = "hopgate", m.cfg.Dir
	cfg.ListenClientUrls, cfg.ListenPeerUrls, cfg.ListenMetricsUrls = nil, nil, nil
	cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = nowhere, nowhere
	cfg.InitialCluster = cfg.Name + "=" + nowhere[0].String()
	cfg.TickMs, cfg.ElectionMs = 100, 500             // ticks are most of what an idle member costs; it elects itself within 500 ms
	cfg.BackendBatchInterval = 500 * time.Millisecond // the log is on disk before; this only bounds what is read of it again after a crash
	cfg.QuotaBackendBytes = m.cfg.QuotaBytes
	cfg.MaxTxnOps, cfg.MaxRequestBytes = embeddedOps, embeddedRequestBytes
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, "24h"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapLogger(m.cfg.Log))
	return cfg
}

func (m *member) stop() {
	if m.etcd != nil {
		m.etcd.Close()
		m.etcd = nil
	}
	if m.lock != nil {
		m.lock.Close()
		m.lock = nil
	}
}

func orDefault[T int | int64 | time.Duration](v, fallback T) T {
	if v <= 0 {
		return fallback
	}
	return v
}

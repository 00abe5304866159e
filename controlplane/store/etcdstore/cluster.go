package etcdstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/redact"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// What a cluster with etcd's default limits takes.
const (
	// DefaultMaxTxnOps is etcd's own --max-txn-ops.
	DefaultMaxTxnOps = 128
	// spareOps is what a transaction needs beside its objects: epoch, change, fence, request id, newest change.
	spareOps = 8
	// clusterRequestBytes is etcd's --max-request-bytes less what the envelope takes.
	clusterRequestBytes = 3<<19 - 2<<10
	progressEvery       = 2 * time.Second
)

// ClusterConfig says how to reach an etcd cluster.
type ClusterConfig struct {
	// Endpoints are host:port, or http:// and https:// URLs of members. Required. Several members are used in turn.
	Endpoints []string
	// TLS is used for https:// endpoints and for those without a scheme; nil: plaintext.
	TLS *tls.Config
	// User and Password authenticate with etcd's own users; both or neither.
	User     string
	Password redact.Secret
	// DialTimeout bounds one attempt to connect. Default 2 s.
	DialTimeout time.Duration
	// KeepAlive is how long a connection may be quiet before it is probed; gRPC probes every 10 s at most. Default 10 s.
	KeepAlive time.Duration
	// KeepAliveTimeout is how long a probe, or sent data, may stay unanswered before the connection is given up. Default 2 s.
	KeepAliveTimeout time.Duration
	// MaxTxnOps is the cluster's own --max-txn-ops. Default 128: 120 objects in a change.
	MaxTxnOps int
	// CommitWithin bounds a commit, including learning the outcome. Default 2 s.
	CommitWithin time.Duration
	// ReadWithin bounds one read request. Default 5 s.
	ReadWithin time.Duration
	// Log gets the client's errors, and its warnings as debug lines. Default: discard.
	Log *slog.Logger
}

// Cluster returns a store in an etcd cluster, 3.5.8 or later.
func Cluster(cfg ClusterConfig) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("etcd cluster: %w", err)
	}
	cfg.MaxTxnOps = orDefault(cfg.MaxTxnOps, DefaultMaxTxnOps)
	cfg.DialTimeout = orDefault(cfg.DialTimeout, 2*time.Second)
	cfg.KeepAlive = orDefault(cfg.KeepAlive, 10*time.Second)
	cfg.KeepAliveTimeout = orDefault(cfg.KeepAliveTimeout, 2*time.Second)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return newStore(backend{
		start: cfg.start, stop: func() {}, ready: connected, log: cfg.Log,
		limits: store.Limits{
			Objects: min(cfg.MaxTxnOps-spareOps, embeddedObjects), Bytes: clusterRequestBytes, Flag: "--max-txn-ops",
		},
		maxOps: cfg.MaxTxnOps, requestBytes: clusterRequestBytes,
		commitWithin: orDefault(cfg.CommitWithin, 2*time.Second), readWithin: orDefault(cfg.ReadWithin, 5*time.Second),
		progress: progressEvery, silence: 5 * progressEvery,
	}), nil
}

func (cfg *ClusterConfig) check() error {
	switch {
	case len(cfg.Endpoints) == 0:
		return errors.New("endpoints is empty; name at least one member, such as https://etcd-0:2379")
	case (cfg.User == "") != cfg.Password.Empty():
		return errors.New("user and password go together; set both or neither")
	case cfg.MaxTxnOps != 0 && cfg.MaxTxnOps < 2*spareOps:
		return fmt.Errorf("max-txn-ops is %d; use at least %d (etcd's default is %d)", cfg.MaxTxnOps, 2*spareOps, DefaultMaxTxnOps)
	}
	for i, e := range cfg.Endpoints {
		scheme, rest, ok := strings.Cut(e, "://")
		switch {
		case strings.Contains(e, "@"):
			return fmt.Errorf("endpoints[%d] has a user or password in it; set User and Password instead", i)
		case e == "" || (ok && rest == ""):
			return fmt.Errorf("endpoints[%d] %q has no address; use host:port or https://host:port", i, e)
		case ok && scheme != "http" && scheme != "https":
			return fmt.Errorf("endpoints[%d] has the scheme %q; use http or https", i, scheme)
		case scheme == "https" && ok && cfg.TLS == nil:
			return fmt.Errorf("endpoints[%d] is https but no TLS settings are given; set them", i)
		}
	}
	return nil
}

// start makes the client; it connects in the background, and again within about a second whenever it lost every member.
func (cfg *ClusterConfig) start(ctx context.Context) (*clientv3.Client, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: cfg.Endpoints, TLS: cfg.TLS, Username: cfg.User, Password: cfg.Password.Reveal(),
		DialTimeout: cfg.DialTimeout, DialKeepAliveTime: cfg.KeepAlive, DialKeepAliveTimeout: cfg.KeepAliveTimeout,
		PermitWithoutStream: true, Logger: zapLogger(cfg.Log),
		MaxCallSendMsgSize: 2 * clusterRequestBytes,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 300 * time.Millisecond},
			MinConnectTimeout: cfg.DialTimeout,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("etcd cluster: %w: %w", store.ErrUnavailable, err)
	}
	within, cancel := context.WithTimeout(ctx, 2*cfg.DialTimeout)
	defer cancel()
	if err := connected(within, client); err != nil {
		return nil, errors.Join(fmt.Errorf("etcd cluster %s: %w: %w", strings.Join(cfg.Endpoints, ", "), store.ErrUnavailable, err), ignoreCanceled(client.Close()))
	}
	return client, nil
}

// connected waits until one member is connected. Nothing has been sent when it fails.
func connected(ctx context.Context, client *clientv3.Client) error {
	conn := client.ActiveConnection()
	for {
		state := conn.GetState()
		if state == connectivity.Ready {
			return nil
		}
		conn.Connect()
		if !conn.WaitForStateChange(ctx, state) {
			return fmt.Errorf("no member is connected: %w", whyNotConnected(ctx, conn))
		}
	}
}

// whyNotConnected asks for the error of the last attempt to connect, which gRPC tells only to a call: this one, a read, finds no connection.
func whyNotConnected(ended context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ended), 50*time.Millisecond)
	defer cancel()
	if _, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte(epochKey)}); err != nil && ctx.Err() == nil {
		return errors.New(status.Convert(err).Message())
	}
	return ended.Err()
}

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	"github.com/hopgate/hopgate/controlplane/store/etcdstore"
	"github.com/hopgate/hopgate/proto/netrange"
	"github.com/hopgate/hopgate/proto/redact"
)

func newControl() *cobra.Command {
	var (
		c           launch.Control
		logs        logFlags
		etcd        etcdFlags
		admin, sync pemFlags
		home        homeFlags
		identity    identityFlags
	)
	cmd := &cobra.Command{
		Use:   "control",
		Short: "Run a control plane",
		Long: `Run a control plane, or with --upstream the relay of a region.

A relay keeps a copy of the config in --data-dir and passes it on to the data planes of its region, also while home can't be reached.
It answers reads, and takes no changes: write to the control plane at home.`,
		Example: `  hopgate control --data-dir /var/lib/hopgate
  hopgate control --upstream home-1:4002,home-2:4002 --node relay-eu --sync 10.0.0.5:4002 --join-file token
  hopgate control --upstream home-1:4002,home-2:4002 --region eu --node relay-eu --cert relay.crt --key relay.key --ca home-ca.crt
  hopgate control --etcd http://10.0.0.1:2379,http://10.0.0.2:2379,http://10.0.0.3:2379 --kek-file /etc/hopgate/kek`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd)
			if err != nil {
				return err
			}
			c.Log, c.MasterKey = log, masterKey()
			auto, err := identity.auto(&c, sync, len(home.Upstreams) > 0 && home.join == "")
			if err != nil {
				return usage{err}
			}
			if auto {
				sync = pemFlags{}
			}
			if err := secure(&c, admin, sync, log); err != nil {
				return usage{err}
			}
			if c.Etcd, err = etcd.config(); err != nil {
				return usage{err}
			}
			if c.Home, err = home.config(log); err != nil {
				return usage{err}
			}
			if err := c.Check(); err != nil {
				return usage{err}
			}
			return c.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.DataDir, "data-dir", "./hopgate-data", "`DIR` that keeps the embedded store, the master key and the key-encryption key")
	f.StringVar(&c.KEKFile, "kek-file", "", "`FILE` with the key-encryption key: 64 hexadecimal digits, mode 0600; the same for all replicas on one store (default: made in --data-dir)")
	f.StringVar(&c.Admin, "admin", "127.0.0.1:4001", "`ADDRESS` of the admin API; off loopback it needs --tls-cert and --tls-key")
	f.StringVar(&c.Sync, "sync", "127.0.0.1:4002", "`ADDRESS` data planes connect to; off loopback certificates are used, see --sync-identity")
	f.StringVar(&c.Replica, "replica", hostname(), "`NAME` of this control plane")
	f.StringVar(&admin.cert, "tls-cert", "", "`FILE` with the certificate of the admin API, PEM; followed when it changes")
	f.StringVar(&admin.key, "tls-key", "", "`FILE` with its private key, PEM")
	f.StringVar(&sync.cert, "sync-cert", "", "`FILE` with the certificate of the sync listener, PEM; followed when it changes")
	f.StringVar(&sync.key, "sync-key", "", "`FILE` with its private key, PEM")
	f.StringVar(&sync.ca, "sync-client-ca", "", "`FILE` with the CA of data planes' certificates, PEM (URI SAN spiffe://<domain>/dp/<region>/[<group>/]<node>)")
	identity.add(cmd)
	etcd.add(cmd)
	home.add(cmd)
	logs.add(cmd)
	return cmd
}

// identityFlags say where the certificates of the sync listener and of data planes come from.
type identityFlags struct {
	from  string
	names []string
}

func (i *identityFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&i.from, "sync-identity", "", "`FROM` where certificates of the sync listener come: auto (the fleet's own authority, and data planes join with tokens) or files (--sync-cert, --sync-key, --sync-client-ca) (default: auto off loopback without --sync-cert, for a relay with --join-file only; else files)")
	f.StringSliceVar(&i.names, "sync-name", nil, "host `NAME` or IP address under which data planes reach this control plane, for its certificate with --sync-identity auto; may be repeated (default: the host of --sync, and this machine's names)")
}

// auto settles whether the control plane makes certificates.
func (i *identityFlags) auto(c *launch.Control, sync pemFlags, relay bool) (bool, error) {
	auto := i.from == "auto" || i.from == "" && !netrange.Loopback(c.Sync) && sync.cert == "" && sync.key == "" && !relay
	switch {
	case i.from != "" && i.from != "auto" && i.from != "files":
		return false, fmt.Errorf("--sync-identity %q: use auto or files", i.from)
	case auto && (sync.cert != "" || sync.key != ""):
		return false, errors.New("--sync-identity auto: not with --sync-cert and --sync-key; leave them out, or use files")
	case !auto && len(i.names) > 0:
		return false, errors.New("--sync-name: only with --sync-identity auto; a certificate file has its names already")
	case auto:
		c.SyncNames, c.SyncClientCA = launch.SyncNames(i.names, c.Sync, hostname()), sync.ca
	}
	return auto, nil
}

// secure loads the certificates of both listeners.
func secure(c *launch.Control, admin, sync pemFlags, log *slog.Logger) (err error) {
	if c.AdminTLS, err = launch.ServerTLS(admin.cert, admin.key, "", log); err != nil {
		return fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	if c.SyncTLS, err = launch.ServerTLS(sync.cert, sync.key, sync.ca, log); err != nil {
		return fmt.Errorf("--sync-cert, --sync-key, --sync-client-ca: %w", err)
	}
	if c.SyncTLS != nil && sync.ca == "" {
		return errors.New("--sync-client-ca: needed with --sync-cert, since data planes are known by their certificates")
	}
	return nil
}

// homeFlags name the control planes that a relay follows.
type homeFlags struct {
	launch.Home
	pem  pemFlags
	join string
}

func (h *homeFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&h.Upstreams, "upstream", nil, "sync `ADDRESS` of a control plane at home: run as the relay of --region; several are tried in turn")
	f.StringVar(&h.Region, "region", "", "`REGION` of the relay, with --upstream")
	f.StringVar(&h.Group, "group", "", "`GROUP` of the relay within the region, with --upstream")
	f.StringVar(&h.Node, "node", hostname(), "`NAME` of the relay, unique in the fleet, with --upstream")
	f.StringVar(&h.pem.cert, "cert", "", "`FILE` with the relay's certificate for --upstream, PEM (URI SAN spiffe://<domain>/dp/<region>/[<group>/]<node>)")
	f.StringVar(&h.pem.key, "key", "", "`FILE` with its private key, PEM")
	f.StringVar(&h.pem.ca, "ca", "", "`FILE` with the CA of the certificates of --upstream, PEM")
	f.StringVar(&h.join, "join-file", "", "`FILE` with a relay's join token (hopgate token create --relay), with --upstream and --sync-identity auto; may be gone once --data-dir has its certificates")
}

func (h *homeFlags) config(log *slog.Logger) (_ *launch.Home, err error) {
	if h.Join, err = (&joinFlags{file: h.join}).token(); err != nil {
		return nil, err
	}
	if len(h.Upstreams) == 0 {
		if h.pem != (pemFlags{}) || h.join != "" || h.Region != "" || h.Group != "" {
			return nil, errors.New("--upstream: name the control planes to follow, or leave out --region, --group, --join-file, --cert, --key and --ca")
		}
		return nil, nil
	}
	if h.pem != (pemFlags{}) {
		if h.TLS, err = launch.ClientTLS(h.pem.ca, h.pem.cert, h.pem.key, log); err != nil {
			return nil, fmt.Errorf("--cert, --key, --ca: %w", err)
		}
	}
	return &h.Home, nil
}

// etcdFlags name an external cluster.
type etcdFlags struct {
	endpoints   []string
	pem         pemFlags
	user        string
	maxTxnOps   int
	dialTimeout time.Duration
}

func (e *etcdFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&e.endpoints, "etcd", nil, "`URL` of a member of an etcd cluster; may be repeated (default: an embedded member in --data-dir)")
	f.StringVar(&e.pem.ca, "etcd-ca", "", "`FILE` with the CA of the members' certificates, PEM (default: the system's)")
	f.StringVar(&e.pem.cert, "etcd-cert", "", "`FILE` with the client certificate for etcd, PEM")
	f.StringVar(&e.pem.key, "etcd-key", "", "`FILE` with its private key, PEM")
	f.StringVar(&e.user, "etcd-user", "", "etcd `USER`; the password comes from HOPGATE_ETCD_PASSWORD")
	f.IntVar(&e.maxTxnOps, "max-txn-ops", etcdstore.DefaultMaxTxnOps, "the cluster's own --max-txn-ops; bounds the objects in one change")
	f.DurationVar(&e.dialTimeout, "etcd-dial-timeout", 2*time.Second, "how long one attempt to connect may take")
}

func (e *etcdFlags) config() (*etcdstore.ClusterConfig, error) {
	if len(e.endpoints) == 0 {
		if e.pem != (pemFlags{}) || e.user != "" {
			return nil, errors.New("--etcd: name the cluster's members, or leave out --etcd-ca, --etcd-cert, --etcd-key and --etcd-user")
		}
		return nil, nil
	}
	c := &etcdstore.ClusterConfig{Endpoints: e.endpoints, User: e.user, MaxTxnOps: e.maxTxnOps, DialTimeout: e.dialTimeout}
	if e.user != "" {
		c.Password = redact.NewSecret(os.Getenv("HOPGATE_ETCD_PASSWORD"))
	}
	if e.pem == (pemFlags{}) {
		return c, nil
	}
	var err error
	if c.TLS, err = launch.ClientTLS(e.pem.ca, e.pem.cert, e.pem.key, nil); err != nil {
		return nil, fmt.Errorf("--etcd-ca, --etcd-cert, --etcd-key: %w", err)
	}
	return c, nil
}

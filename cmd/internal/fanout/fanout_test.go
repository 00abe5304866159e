package main

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/controlplane/stream"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"

	"github.com/hopgate/hopgate/proto/confset"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// crowdOf returns a crowd without streams at a control plane of this process.
func crowdOf(ctx context.Context) *crowd {
	c := newCrowd(ctx, nil)
	c.size = 1
	return c
}

func follower(c *crowd, at *cptest.Control) *plane {
	p := newPlane(c, "n00000", nil, func(ctx context.Context) (net.Conn, error) { return at.Dial(ctx) }, held{set: confset.Empty()})
	p.creds = insecure.NewCredentials()
	return p
}

func TestAPlaneAnswersChangesAndComesBackWithoutBeingSentAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		control := cptest.New(t, cptest.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		c := crowdOf(ctx)
		p := follower(c, control)
		c.wg.Go(func() { p.run(ctx) })
		for i, region := range []string{"eu", "us"} {
			rev := control.Put(&configv1.Server{Name: "moving", Labels: map[string]string{"at": region}})
			if err := c.all(ctx, rev); err != nil {
				t.Fatal(err)
			}
			d, err := control.Fleet().Wait(ctx, rev)
			if err != nil || d.GetApplied() != 1 {
				t.Fatalf("change %d: the fleet says %v, %v", i, d, err)
			}
			time.Sleep(time.Second)
		}
		sent := c.updates.Load()
		control.Restart()
		time.Sleep(time.Minute)
		if err := c.settle(1, time.Second); err != nil {
			t.Fatal(err)
		}
		if c.lost.Load() != 1 || c.updates.Load() != sent || c.mismatched.Load() != 0 {
			t.Errorf("%d streams lost, %d updates after the restart, %d of them wrong", c.lost.Load(), c.updates.Load()-sent, c.mismatched.Load())
		}
		cancel()
		c.wg.Wait()
	})
}

func TestAPlaneRefusesABodyThatIsNotWhatItsHashSays(t *testing.T) {
	o := confset.NewObject(confset.Key{Kind: "server", Name: "a"}, "uid", []byte("body"))
	set, err := confset.New([]confset.Object{o})
	if err != nil {
		t.Fatal(err)
	}
	digest := set.Digest()
	u := &syncv1.Update{Nonce: 1, Digest: digest[:], Upserts: []*syncv1.Resource{{Kind: "server", Name: "a", Uid: "uid", Hash: o.Hash[:], Body: []byte("bodY")}}}
	if err := newPlane(crowdOf(t.Context()), "n", nil, nil, held{set: confset.Empty()}).update([]*syncv1.Update{u}); err == nil {
		t.Error("a changed body was taken")
	}
}

func TestACertificateSaysWhichPlaneItIs(t *testing.T) {
	ca, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.client("n00042")
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.server(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	own, err := tls.LoadX509KeyPair(files.cert, files.key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	go func() { tls.Client(a, client).HandshakeContext(t.Context()) }()
	server := tls.Server(b, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool})
	if err := server.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: server.ConnectionState()}})
	if _, err := stream.FromCertificate(ctx, &syncv1.Hello{Node: "n00042", Region: region}); err != nil {
		t.Error(err)
	}
}

func TestStreamCountsAscend(t *testing.T) {
	var c counts
	if err := c.Set("1000,5000"); err != nil || c.String() != "1000,5000" {
		t.Errorf("got %s, %v", c.String(), err)
	}
	for _, bad := range []string{"", "0", "5,5", "2,1", "x", "60001"} {
		if err := c.Set(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestTheLastOfFewIsTheQuantileOfOne(t *testing.T) {
	v := []float64{3, 1, 2}
	if p, q := quantile(v, 0.5), quantile(v, 1); p != 2 || q != 3 {
		t.Errorf("median %v, most %v", p, q)
	}
}

package cptest_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAControlPlaneComesBackOnTheSameStore(t *testing.T) {
	c := cptest.New(t, cptest.Config{Replica: "r1"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := c.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rev := c.Put(&configv1.Server{Name: "a"}, &configv1.ApiKey{Name: "k"}, &configv1.SealingRing{Name: "session"})
	before := welcome(ctx, t, conn)
	c.Stop()
	if c.Running() {
		t.Error("it runs after Stop")
	}
	if _, err := greet(ctx, conn, grpc.WaitForReady(false)); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream to a stopped control plane: %v, want UNAVAILABLE", err)
	}
	c.Delete(confset.Key{Kind: "apikey", Name: "k"})
	c.Restart()
	after := welcome(ctx, t, conn)
	if after.GetEpoch() != before.GetEpoch() || after.GetRevision() <= rev || after.GetReplica() != "r1" {
		t.Errorf("before %v, after %v", before, after)
	}
	if n := c.Views().Snapshot().Len(); n != 2 {
		t.Errorf("%d objects after the restart, want 2", n)
	}
}

func welcome(ctx context.Context, t *testing.T, conn *grpc.ClientConn) *syncv1.Welcome {
	t.Helper()
	w, err := greet(ctx, conn, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func greet(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) (*syncv1.Welcome, error) {
	st, err := syncv1.NewSyncServiceClient(conn).Sync(ctx, opts...)
	if err != nil {
		return nil, err
	}
	h := &syncv1.Hello{Node: "n", Region: "eu", FeatureLevel: 1}
	if err := st.Send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Hello{Hello: h}}); err != nil {
		_, err = st.Recv()
		return nil, err
	}
	m, err := st.Recv()
	return m.GetWelcome(), err
}

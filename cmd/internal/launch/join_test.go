package launch_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/cmd/internal/launch"
	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
	"github.com/hopgate/hopgate/proto/jointoken"
)

var syncAddress = regexp.MustCompile(`sync=([0-9.:]+)`)

// founder is a control plane that gives certificates, and how to reach it.
func founder(t *testing.T) (sync string, admin *operator.Client, log *paper) {
	t.Helper()
	log = &paper{}
	c := &launch.Control{DataDir: t.TempDir(), Admin: "127.0.0.1:0", Sync: "127.0.0.1:0", SyncNames: launch.SyncNames(nil, "127.0.0.1:0", ""), MasterKey: "a master key that is long enough", Replica: "r",
		Log: slog.New(slog.NewTextHandler(log, nil))}
	boot(t, c.Run, nil, log)
	until(t, "the control plane listens", func() bool { return syncAddress.MatchString(log.String()) })
	api := regexp.MustCompile(`admin=([0-9.:]+)`).FindStringSubmatch(log.String())[1]
	client, err := operator.Connect(operator.Access{API: "http://" + api, Key: "a master key that is long enough"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return syncAddress.FindStringSubmatch(log.String())[1], client, log
}

func joinToken(t *testing.T, c *operator.Client) jointoken.Token {
	t.Helper()
	secret, _, err := (&operator.NewJoinToken{Region: "eu", Group: "blue"}).Create(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jointoken.Parse(secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// connected says whether a data plane is, as the control plane sees it.
func connected(t *testing.T, c *operator.Client, node string) bool {
	t.Helper()
	res, err := c.ListNodes(t.Context(), &adminv1.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range res.GetNodes() {
		if n.GetNode() == node {
			return n.GetConnected() && n.GetRegion() == "eu" && n.GetGroup() == "blue"
		}
	}
	return false
}

func TestADataPlaneJoinsWithATokenAloneAndIsShutOutWithinASecond(t *testing.T) {
	at, admin, log := founder(t)
	dir := t.TempDir()
	token := joinToken(t, admin)
	proxy := func(join jointoken.Token) *machine {
		out := &paper{}
		p := &launch.Proxy{Node: "n1", Control: []string{at}, Join: join, Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", StateDir: dir, AccessFormat: "off", Access: out,
			Log: slog.New(slog.NewTextHandler(out, nil))}
		return boot(t, p.Run, nil, out)
	}
	first := proxy(token)
	until(t, "the data plane is connected", func() bool { return connected(t, admin, "n1") })
	if err := first.end(t); err != nil {
		t.Fatal(err)
	}
	until(t, "it is gone", func() bool { return !connected(t, admin, "n1") })
	again := proxy(jointoken.Token{})
	until(t, "it is back without the token", func() bool { return connected(t, admin, "n1") })
	began := time.Now()
	if _, err := operator.RevokeNode(t.Context(), admin, "n1", false, "stolen"); err != nil {
		t.Fatal(err)
	}
	until(t, "its stream has ended", func() bool { return !connected(t, admin, "n1") })
	took := time.Since(began)
	t.Logf("shut out after %s", took)
	if took > time.Second {
		t.Errorf("shut out after %s", took)
	}
	until(t, "it is told why", func() bool { return strings.Contains(again.log.String(), "is revoked") })
	if secret := strings.Split(token.Reveal(), "_")[2]; strings.Contains(log.String()+again.log.String()+first.log.String(), secret) {
		t.Error("the token is in a log")
	}
}

func TestADataPlaneSendsItsTokenToNobodyElse(t *testing.T) {
	at, _, log := founder(t)
	p := &launch.Proxy{Node: "n1", Control: []string{at}, Join: jointoken.New([32]byte{1}), Listen: "127.0.0.1:0", Admin: "127.0.0.1:0", StateDir: t.TempDir(), AccessFormat: "off",
		Access: &paper{}, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := p.Run(ctx)
	if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "doesn't lead to the authority of the join token") {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "no certificate") {
		t.Error("a call reached the control plane")
	}
}

func TestAStrangerGetsNoConfigWhereDataPlanesJoin(t *testing.T) {
	at, _, _ := founder(t)
	conn, err := grpc.NewClient("passthrough:///"+at, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}))) //nolint:gosec // a stranger doesn't care
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the test ends
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := syncv1.NewSyncServiceClient(conn).Sync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Hello{Hello: &syncv1.Hello{Node: "n1", Region: "eu"}}})
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Fatal(err)
	}
}

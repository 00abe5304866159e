//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/cptest"
	"github.com/hopgate/hopgate/dataplane/follow"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// A data plane of this build beside a control plane of a later version: what it can't read it never takes for less than it says.

// onTCP makes a control plane of the test reachable for processes.
func onTCP(t *testing.T, c *cptest.Control) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", ownHost()+":0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := c.Dial(t.Context())
			if err != nil {
				in.Close() //nolint:errcheck // as a control plane that is gone
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				wg.Go(func() {
					io.Copy(pair[0], pair[1]) //nolint:errcheck // it ends with either side
					pair[0].Close()           //nolint:errcheck // as above
					pair[1].Close()           //nolint:errcheck // as above
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close() //nolint:errcheck // the test is over
		c.Stop()
		wg.Wait()
	})
	return l.Addr().String()
}

// fromLater is an object as a later version stores it: with a field in its spec that this one doesn't know.
func fromLater(t *testing.T, m proto.Message) confset.Object {
	t.Helper()
	spec := m.ProtoReflect().Mutable(m.ProtoReflect().Descriptor().Fields().ByName("spec")).Message()
	spec.SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 4000, protowire.BytesType), "only on Sundays"))
	body, err := rules.Body(m)
	if err != nil {
		t.Fatal(err)
	}
	return confset.NewObject(cptest.Key(m), "", body)
}

func apiKey(name, key string, servers ...string) *configv1.ApiKey {
	sum := sha256.Sum256([]byte(key))
	return &configv1.ApiKey{Name: name, Spec: &configv1.ApiKeySpec{Sha256: hex.EncodeToString(sum[:]), Servers: servers}}
}

func reaching(name, url string) *configv1.Server {
	return &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: url}}}}
}

// statusOf is the HTTP status of a call; 0 when there is no answer.
func statusOf(p *proxy, server, key string) int {
	a, err := post(p.url(server), key, toolCall("echo", map[string]any{"message": "x"}))
	if err != nil {
		return 0
	}
	return a.Status
}

func TestFieldsOfALaterControlPlaneAreRejectedOrWarnedOfNeverIgnored(t *testing.T) {
	const held, fresh, plain = "sk-e2e-held-0123456789abcdef", "sk-e2e-fresh-0123456789abcdef", "sk-e2e-plain-0123456789abcdef"
	c := cptest.New(t, cptest.Config{})
	c.Put(reaching("old", "http://127.0.0.1:9/mcp"), apiKey("held", held, "old"), apiKey("plain", plain, "new"))
	p := startProxy(t, "proxy", nil, []*control{{Sync: onTCP(t, c)}})
	eventually(t, 20*time.Second, "the key is taken", func() error {
		if got := statusOf(p, "old", held); got == 0 || got == http.StatusUnauthorized {
			return fmt.Errorf("status %d", got)
		}
		return nil
	})
	objs := []confset.Object{fromLater(t, apiKey("held", held, "old")), fromLater(t, apiKey("fresh", fresh, "old")), fromLater(t, reaching("new", "http://127.0.0.1:9/mcp"))}
	c.Commit(cptest.Change{Raw: objs})
	for i, want := range []string{"rejected", "rejected", "warned"} {
		eventually(t, 20*time.Second, objs[i].Key.String()+" is "+want, func() error {
			st := c.Fleet().ObjectStatus(objs[i])
			if got := map[string]int32{"rejected": st.GetRejected(), "warned": st.GetWarned()}; got[want] != 1 || got["rejected"]+got["warned"] != 1 {
				return fmt.Errorf("status %v", st)
			}
			return nil
		})
	}
	for name, key := range map[string]string{"a new key": fresh, "a key that was good before": held} {
		if got := statusOf(p, "old", key); got != http.StatusUnauthorized {
			t.Errorf("%s that can't be read whole answers %d, want 401", name, got)
		}
	}
	if got := statusOf(p, "new", plain); got == 0 || got == http.StatusUnauthorized || got == http.StatusNotFound {
		t.Errorf("a server with a warning answers %d, want it served", got)
	}
}

// What a control plane of this version may push at its highest level, a data plane of this version must be able to read.
func TestThisVersionReadsTheHighestLevel(t *testing.T) {
	if follow.FeatureLevel < rules.MostLevel {
		t.Errorf("data planes say level %d, fields need up to %d", follow.FeatureLevel, rules.MostLevel)
	}
}

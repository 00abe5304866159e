//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

// The goals are 15 ms and 50 ms on a quiet machine; a busy one gets three times as much before the test is red.
const (
	propagationP50 = 15 * time.Millisecond
	propagationP99 = 50 * time.Millisecond
	patience       = 3
)

func TestChangeIsAppliedWithinMilliseconds(t *testing.T) {
	c := startControl(t, "control", nil)
	startProxy(t, "proxy", nil, []*control{c})
	c.inSync(t, "proxy")
	var fromCommit, fromCall, unstalled []time.Duration
	for i := range 210 {
		<-time.After(75 * time.Millisecond) // longer than changes are merged
		began := mark()
		commit, call := propagate(t, c, i)
		if i >= 10 { // the first ones warm connections and code
			fromCommit, fromCall = append(fromCommit, commit), append(fromCall, call)
			unstalled = append(unstalled, commit-min(began.stalled(), commit, mostStretch*patience*propagationP99))
		}
	}
	t.Logf("200 changes: committed to applied p50 %s, p99 %s (%s without the machine's stalls); asked to applied p50 %s, p99 %s",
		quantile(fromCommit, 50), quantile(fromCommit, 99), quantile(unstalled, 99), quantile(fromCall, 50), quantile(fromCall, 99))
	if p50, p99 := quantile(fromCommit, 50), quantile(unstalled, 99); p50 > patience*propagationP50 || p99 > patience*propagationP99 {
		t.Errorf("committed to applied takes p50 %s and p99 %s, goals are %s and %s", p50, p99, propagationP50, propagationP99)
	}
}

// propagate makes a change and returns how long it took from its commit, and from the call, until the data plane had it in force.
func propagate(t *testing.T, c *control, i int) (commit, call time.Duration) {
	t.Helper()
	began := time.Now()
	change, err := c.client(t).CreateChange(t.Context(), &adminv1.CreateChangeRequest{Objects: []*adminv1.Object{{Object: &adminv1.Object_Server{
		Server: &configv1.Server{Name: "moving", Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: fmt.Sprintf("http://127.0.0.1:9/%d", i)}}}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	var applied time.Time
	eventually(t, shown, "the change is applied", func() error {
		n := c.nodes(t)["proxy"]
		if n.GetRevision() < change.GetRevision() {
			return fmt.Errorf("at revision %d of %d", n.GetRevision(), change.GetRevision())
		}
		applied = n.GetAppliedTime().AsTime()
		return nil
	})
	return applied.Sub(change.GetTime().AsTime()), applied.Sub(began)
}

// quantile is the p-th percentile, by nearest rank.
func quantile(d []time.Duration, p int) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[min(len(s)-1, (len(s)*p+99)/100-1)].Round(10 * time.Microsecond)
}

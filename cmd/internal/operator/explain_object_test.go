package operator_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestAnExplanationIsPrintedAsLayersAndOrigins(t *testing.T) {
	e := &adminv1.ExplainObjectResponse{
		Layers:  []*adminv1.Layer{{Object: "server/a", Why: "is the object itself", Applied: true}, {Object: "overlay/us", Why: "is for region us, and this is region eu"}},
		Origins: []*adminv1.Origin{{Path: "spec.timeouts.total", Overlay: "eu", Before: `"10s"`, After: `"1s"`, Overruled: []string{"b", "c"}}, {Path: "spec.limits", Overlay: "eu"}},
	}
	const want = `LAYER        APPLIES   WHY
server/a     yes       is the object itself
overlay/us   no        is for region us, and this is region eu

FIELD                 FROM   BEFORE   AFTER   OVERRULED
spec.timeouts.total   eu     "10s"    "1s"    b,c
spec.limits           eu     -        -       -
`
	var out bytes.Buffer
	if err := operator.PrintExplained(&out, operator.Table, e); err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
	out.Reset()
	if err := operator.PrintExplained(&out, operator.YAML, e); err != nil || !bytes.Contains(out.Bytes(), []byte("- object: server/a\n")) {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestOverlaysAreListedWithWhatTheyChange(t *testing.T) {
	o := &configv1.Overlay{Name: "o", Spec: &configv1.OverlaySpec{Kind: "server", Target: "a", Region: "eu", Clear: []string{"spec.limits"},
		Patch: &configv1.OverlaySpec_Server{Server: &configv1.ServerSpec{Protocol: "modern", Timeouts: &configv1.Timeouts{Total: "1s"}}}}}
	const want = `NAME   TARGET     REGION   GROUP   CLEARS        SETS                                APPLIED   REJECTED   PENDING
o      server/a   eu       (any)   spec.limits   spec.protocol,spec.timeouts.total   0         0          0
`
	var out bytes.Buffer
	if err := operator.Print(&out, operator.Table, operator.OverlayHead, []proto.Message{o}); err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}

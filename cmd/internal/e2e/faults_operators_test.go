//go:build e2e && linux

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

const (
	// operatorPace is the time between two deeds of an operator, operatorObjects how many servers they write.
	operatorPace, operatorObjects = 150 * time.Millisecond, 20
	// operatorStaged is how many staged changes one operator makes between two looks: each takes seconds, and ten more after a control plane went.
	operatorStaged = 2
	// operatorBake is how long each step of a staged change has to serve.
	operatorBake = "1s"
)

// operators change the config through both control planes: whole servers at once and in steps, and back. What is refused while somebody is
// away isn't tried again.
type operators struct {
	end                               context.CancelFunc
	wg                                sync.WaitGroup
	written, staged, reverted, failed atomic.Int64
}

func (w *operators) String() string {
	return fmt.Sprintf("%d changes, %d staged, %d reverts, %d refused", w.written.Load(), w.staged.Load(), w.reverted.Load(), w.failed.Load())
}

func startOperators(o *ordeal) *operators {
	ctx, cancel := context.WithCancel(o.t.Context())
	w := &operators{end: cancel}
	for i, c := range o.controls {
		admin, rng := c.client(o.t), rand.New(rand.NewPCG(o.rng.Uint64(), uint64(i))) //nolint:gosec // a schedule
		w.wg.Go(func() { w.run(ctx, admin, rng) })
	}
	return w
}

func (w *operators) stop() {
	w.end()
	w.wg.Wait()
}

func (w *operators) run(ctx context.Context, admin *operator.Client, rng *rand.Rand) {
	tick := time.NewTicker(operatorPace)
	defer tick.Stop()
	newest, staged := "", 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		var change *adminv1.Change
		var err error
		count := &w.written
		switch n := rng.IntN(20); {
		case n == 0 && staged < operatorStaged:
			count, staged = &w.staged, staged+1
			change, err = admin.CreateChange(try, someServer(rng, &adminv1.RolloutPlan{Strategy: "canary", Steps: []string{"1", "50%", "100%"}, Bake: operatorBake}))
		case n < 4 && newest != "":
			count = &w.reverted
			change, err = admin.RevertChange(try, &adminv1.RevertChangeRequest{Id: newest})
		default:
			change, err = admin.CreateChange(try, someServer(rng, nil))
		}
		cancel()
		if newest = change.GetId(); err != nil {
			count, newest = &w.failed, ""
		}
		count.Add(1)
	}
}

// someServer writes one of the servers, with a URL of its own.
func someServer(rng *rand.Rand, plan *adminv1.RolloutPlan) *adminv1.CreateChangeRequest {
	s := reaching(fmt.Sprintf("s%02d", rng.IntN(operatorObjects)), fmt.Sprintf("http://127.0.0.1:9/%d", rng.Int64()))
	return &adminv1.CreateChangeRequest{Objects: []*adminv1.Object{{Object: &adminv1.Object_Server{Server: s}}}, Rollout: plan}
}

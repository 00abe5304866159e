package relay

import (
	"context"
	"time"

	syncv1 "github.com/hopgate/hopgate/proto/gen/hopgate/sync/v1"
)

// look tells health when it is time, or before when there is news.
func (x *session) look() error {
	if !x.welcomed || x.count() == x.told && time.Since(x.toldAt) < healthEvery-lookEvery/2 {
		return nil
	}
	return x.health()
}

// news notes that a set was taken: that it reached the region is told soon, even if the counts are the same by then.
func (x *session) news() {
	if x.tookAt = time.Now(); x.settled == nil {
		x.settled = time.After(settleAfter)
	}
}

// settle tells health once the data planes of the region had time to take a set, and again if there is a newer one.
func (x *session) settle() error {
	x.settled = nil
	if rest := settleAfter - time.Since(x.tookAt); rest > 0 {
		x.settled = time.After(rest)
	}
	return x.health()
}

// count asks how the data planes of the region are.
func (x *session) count() counts {
	x.s.mu.Lock()
	count := x.s.counts
	x.s.mu.Unlock()
	connected, behind := count()
	return counts{connected, behind}
}

// health tells what is held and how the data planes of the region are.
func (x *session) health() error { return x.tell(false) }

func (x *session) tell(draining bool) error {
	x.told, x.toldAt = x.count(), time.Now()
	h := &syncv1.Health{Relayed: int32(x.told.connected), RelayedBehind: int32(x.told.behind), Draining: draining}
	if now, _, _ := x.s.version(); now != nil {
		digest := now.set.Digest()
		h.Digest, h.Revision = digest[:], now.revision
	}
	return x.stream.Send(&syncv1.SyncRequest{Message: &syncv1.SyncRequest_Health{Health: h}})
}

// part says that this relay stops, so that nobody takes it for crashed, and waits until that was heard.
func (x *session) part(ctx context.Context) *ending {
	if x.welcomed && x.tell(true) == nil && x.stream.CloseSend() == nil {
		return x.failed(ctx)
	}
	return lost(x.over, x.over.Err())
}

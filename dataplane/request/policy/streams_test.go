package policy_test

import (
	"sync"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/policy"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestStreamsAreLimitedPerPrincipal(t *testing.T) {
	var s policy.Streams
	take := func(principal string, limit int, want bool) {
		t.Helper()
		err := s.Acquire(principal, limit)
		if f := fault.As(err); (err == nil) != want || err != nil && (f.HTTPStatus() != 429 || f.Header() != "hop=client; phase=limit; kind=exhausted") {
			t.Errorf("%s of %d: %v", principal, limit, err)
		}
	}
	take("key:a", 2, true)
	take("key:a", 2, true)
	take("key:a", 2, false)
	take("key:b", 2, true)
	take("key:a", 3, true) // the limit was raised meanwhile
	s.Release("key:a")
	take("key:a", 2, false)
	s.Release("key:a")
	take("key:a", 2, true)
	take("key:c", 0, false)
}

func TestStreamsMayComeAndGoAtOnce(t *testing.T) {
	var s policy.Streams
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if s.Acquire("p", 3) == nil {
					s.Release("p")
				}
			}
		})
	}
	wg.Wait()
	for range 3 {
		if err := s.Acquire("p", 3); err != nil {
			t.Errorf("a place was lost: %v", err)
		}
	}
}

package update

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// RetryAfter is the least wait that a control plane asks for with the error of a stream (google.rpc.RetryInfo), at most a minute; 0: none.
func RetryAfter(err error) (wait time.Duration) {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			wait = Bounded(info.GetRetryDelay().AsDuration())
		}
	}
	return wait
}

// Bounded keeps a wait that a control plane asked for within reason: between 0 and a minute.
func Bounded(d time.Duration) time.Duration { return min(max(d, 0), time.Minute) }

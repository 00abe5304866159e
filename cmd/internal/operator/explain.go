package operator

import (
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Explain turns an error of the admin API into lines for a terminal: the sentence, then one line per violation
// that it doesn't tell. No error stays none.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	var b strings.Builder
	switch s.Code() {
	case codes.Unavailable:
		if unreached(s.Message()) {
			b.WriteString("the admin API can't be reached: ")
		}
	case codes.Unauthenticated:
		b.WriteString("the admin API doesn't know this key: ")
	}
	b.WriteString(s.Message())
	for _, d := range s.Details() {
		bad, ok := d.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.GetFieldViolations() {
			if strings.Contains(s.Message(), v.GetDescription()) {
				continue
			}
			b.WriteString("\n  " + v.GetField() + ": " + v.GetDescription())
		}
	}
	return errors.New(b.String())
}

// unreached says whether it was our own end that found the admin API unavailable: it may also say so of its store.
func unreached(message string) bool {
	for _, begin := range []string{"connection error", "error reading from server", "name resolver error", "closing transport"} {
		if strings.HasPrefix(message, begin) {
			return true
		}
	}
	return false
}

package fault_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/proto/fault"
	faultv1 "github.com/hopgate/hopgate/proto/gen/hopgate/fault/v1"
)

func TestEveryWordOfTheVocabularyHasItsName(t *testing.T) {
	for n, name := range faultv1.Hop_name {
		if got := fault.Hop(n).String(); !strings.EqualFold("HOP_"+got, name) {
			t.Errorf("hop %d is %q, the proto says %s", n, got, name)
		}
	}
	for n, name := range faultv1.Phase_name {
		if got := fault.Phase(n).String(); !strings.EqualFold("PHASE_"+got, name) {
			t.Errorf("phase %d is %q, the proto says %s", n, got, name)
		}
	}
	for n, name := range faultv1.Kind_name {
		if got := fault.Kind(n).String(); !strings.EqualFold("KIND_"+got, name) {
			t.Errorf("kind %d is %q, the proto says %s", n, got, name)
		}
	}
}

func TestWordsFromNewerVersionsAreUnknown(t *testing.T) {
	for _, got := range []string{fault.Hop(-1).String(), fault.Phase(1000).String(), fault.Kind(1000).String()} {
		if got != "unknown" {
			t.Errorf("got %q", got)
		}
	}
}

func TestErrorKeepsItsCause(t *testing.T) {
	e := at(fault.Upstream, fault.Stream, fault.Reset)
	e.Err = fmt.Errorf("read: %w", io.ErrUnexpectedEOF)
	wrapped := fmt.Errorf("call: %w", e)
	if got := fault.As(wrapped); got != e {
		t.Errorf("As gives %v", got)
	}
	if fault.As(io.EOF) != nil || fault.As(nil) != nil {
		t.Error("As finds a fault where there is none")
	}
	if !errors.Is(wrapped, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if got := e.Error(); got != "upstream/stream/reset: It failed.: read: unexpected EOF" {
		t.Errorf("reads %q", got)
	}
	if got := at(fault.Client, fault.Request, fault.TooLarge).Doc(); got != "faults#client-request-too-large" {
		t.Errorf("doc is %q", got)
	}
}

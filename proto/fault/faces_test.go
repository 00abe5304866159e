package fault_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/hopgate/hopgate/proto/fault"
	faultv1 "github.com/hopgate/hopgate/proto/gen/hopgate/fault/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

func at(hop fault.Hop, phase fault.Phase, kind fault.Kind) *fault.Error {
	return &fault.Error{Hop: hop, Phase: phase, Kind: kind, Message: "It failed."}
}

func TestEachCauseHasOneFaceOnEveryWire(t *testing.T) {
	remote := at(fault.Upstream, fault.Headers, fault.Unavailable)
	remote.Remote, remote.UpstreamStatus, remote.Server = true, 503, "github"
	fixed := at(fault.Client, fault.Request, fault.Mismatch)
	fixed.Code, fixed.Status = fault.CodeHeaderMismatch, http.StatusBadRequest
	for _, c := range []struct {
		name   string
		err    *fault.Error
		status int
		code   int
		grpc   codes.Code
		header string
	}{
		{"bad key", at(fault.Client, fault.Auth, fault.Unauthenticated), 401, fault.CodeUnauthenticated, codes.Unauthenticated, "hop=client; phase=auth; kind=unauthenticated"},
		{"not granted", at(fault.Client, fault.Grant, fault.Denied), 403, fault.CodeDenied, codes.PermissionDenied, "hop=client; phase=grant; kind=denied"},
		{"unknown name", at(fault.Client, fault.Route, fault.NotFound), 404, fault.CodeNotFound, codes.NotFound, "hop=client; phase=route; kind=not_found"},
		{"oversize", at(fault.Client, fault.Request, fault.TooLarge), 413, fault.CodeTooLarge, codes.InvalidArgument, "hop=client; phase=request; kind=too_large"},
		{"malformed", at(fault.Client, fault.Request, fault.Malformed), 400, fault.CodeInvalidRequest, codes.InvalidArgument, "hop=client; phase=request; kind=malformed"},
		{"slow caller", at(fault.Client, fault.Request, fault.TimedOut), 408, fault.CodeTimedOut, codes.DeadlineExceeded, "hop=client; phase=request; kind=timed_out"},
		{"too many streams", at(fault.Gateway, fault.Limit, fault.Exhausted), 429, fault.CodeExhausted, codes.ResourceExhausted, "hop=gateway; phase=limit; kind=exhausted"},
		{"no config yet", at(fault.Gateway, fault.Config, fault.Unavailable), 503, fault.CodeUnavailable, codes.Unavailable, "hop=gateway; phase=config; kind=unavailable"},
		{"defect", at(fault.Gateway, fault.Route, fault.Internal), 500, fault.CodeInternal, codes.Internal, "hop=gateway; phase=route; kind=internal"},
		{"leak", at(fault.Gateway, fault.Policy, fault.CredentialLeak), 403, fault.CodeDenied, codes.PermissionDenied, "hop=gateway; phase=policy; kind=credential_leak"},
		{"leak on the last leg", at(fault.Upstream, fault.Policy, fault.CredentialLeak), 403, fault.CodeDenied, codes.PermissionDenied, "hop=upstream; phase=policy; kind=credential_leak"},
		{"sign in again", at(fault.AuthServer, fault.Auth, fault.NeedsReauth), 401, fault.CodeUnauthenticated, codes.Unauthenticated, "hop=authserver; phase=auth; kind=needs_reauth"},
		{"session of another", at(fault.Client, fault.Session, fault.Mismatch), 404, fault.CodeSession, codes.InvalidArgument, "hop=client; phase=session; kind=mismatch"},
		{"session garbled", at(fault.Client, fault.Session, fault.Malformed), 404, fault.CodeSession, codes.InvalidArgument, "hop=client; phase=session; kind=malformed"},
		{"session expired", at(fault.Client, fault.Session, fault.Expired), 404, fault.CodeSession, codes.NotFound, "hop=client; phase=session; kind=expired"},
		{"session lost upstream", at(fault.Upstream, fault.Session, fault.NotFound), 404, fault.CodeSession, codes.NotFound, "hop=upstream; phase=session; kind=not_found"},
		{"refused", at(fault.Upstream, fault.Connect, fault.Refused), 502, fault.CodeUpstream, codes.Unavailable, "hop=upstream; phase=connect; kind=refused"},
		{"no such host", at(fault.Upstream, fault.DNS, fault.Unreachable), 502, fault.CodeUpstream, codes.Unavailable, "hop=upstream; phase=dns; kind=unreachable"},
		{"connect timeout", at(fault.Upstream, fault.Connect, fault.TimedOut), 504, fault.CodeTimedOut, codes.DeadlineExceeded, "hop=upstream; phase=connect; kind=timed_out"},
		{"bad certificate", at(fault.Upstream, fault.TLS, fault.Denied), 502, fault.CodeUpstream, codes.PermissionDenied, "hop=upstream; phase=tls; kind=denied"},
		{"intermediary page", at(fault.Upstream, fault.Intermediary, fault.Malformed), 502, fault.CodeUpstream, codes.InvalidArgument, "hop=upstream; phase=intermediary; kind=malformed"},
		{"intermediary out of service", at(fault.Upstream, fault.Intermediary, fault.Unavailable), 502, fault.CodeUpstream, codes.Unavailable, "hop=upstream; phase=intermediary; kind=unavailable"},
		{"cut stream", at(fault.Upstream, fault.Stream, fault.Reset), 502, fault.CodeUpstream, codes.Unavailable, "hop=upstream; phase=stream; kind=reset"},
		{"huge answer", at(fault.Upstream, fault.Body, fault.TooLarge), 502, fault.CodeTooLarge, codes.InvalidArgument, "hop=upstream; phase=body; kind=too_large"},
		{"breaker", at(fault.Upstream, fault.Connect, fault.CircuitOpen), 503, fault.CodeUpstream, codes.Unavailable, "hop=upstream; phase=connect; kind=circuit_open"},
		{"upstream says 503", remote, 502, fault.CodeUpstream, codes.Unavailable, "hop=upstream; phase=headers; kind=unavailable; remote=true; upstream_status=503; server=github"},
		{"control plane slow", at(fault.Control, fault.Config, fault.TimedOut), 504, fault.CodeTimedOut, codes.DeadlineExceeded, "hop=control; phase=config; kind=timed_out"},
		{"lost race", at(fault.Control, fault.Config, fault.Conflict), 409, fault.CodeInternal, codes.Aborted, "hop=control; phase=config; kind=conflict"},
		{"fixed by the revision", fixed, 400, fault.CodeHeaderMismatch, codes.InvalidArgument, "hop=client; phase=request; kind=mismatch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.err.HTTPStatus(); got != c.status {
				t.Errorf("HTTP status %d, want %d", got, c.status)
			}
			if got := c.err.JSONRPCCode(); got != c.code {
				t.Errorf("JSON-RPC code %d, want %d", got, c.code)
			}
			if got := c.err.Header(); got != c.header {
				t.Errorf("header %q, want %q", got, c.header)
			}
			checkGRPC(t, c.err, c.grpc)
			checkJSONRPC(t, c.err)
		})
	}
}

func checkGRPC(t *testing.T, e *fault.Error, want codes.Code) {
	t.Helper()
	s := status.Convert(fmt.Errorf("wrapped: %w", e))
	if s.Code() != want {
		t.Errorf("gRPC code %v, want %v", s.Code(), want)
	}
	if len(s.Details()) != 1 {
		t.Fatalf("%d gRPC details", len(s.Details()))
	}
	if d, ok := s.Details()[0].(*faultv1.Fault); !ok || !proto.Equal(d, e.Proto()) {
		t.Errorf("gRPC detail is %v", s.Details()[0])
	}
}

// answer is the JSON-RPC face as a client reads it.
type answer struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Error   struct {
		Code    int            `json:"code"`
		Message string         `json:"message"`
		Data    map[string]any `json:"data"`
	} `json:"error"`
}

func read(t *testing.T, b []byte) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	if !utf8.Valid(b) {
		t.Fatalf("not UTF-8: %q", b)
	}
	return a
}

func checkJSONRPC(t *testing.T, e *fault.Error) {
	t.Helper()
	a := read(t, e.AppendJSONRPC(nil, []byte(`"a\"1"`), fault.Place{Region: "eu", TraceID: "4bf9"}))
	if a.JSONRPC != "2.0" || string(a.ID) != `"a\"1"` || a.Error.Code != e.JSONRPCCode() || a.Error.Message != e.Message {
		t.Errorf("got %+v", a)
	}
	want := map[string]any{"hop": e.Hop.String(), "phase": e.Phase.String(), "kind": e.Kind.String(), "remote": e.Remote,
		"region": "eu", "trace_id": "4bf9", "doc": e.Doc()}
	for k, v := range want {
		if a.Error.Data[k] != v {
			t.Errorf("data.%s is %v, want %v", k, a.Error.Data[k], v)
		}
	}
}

func TestJSONRPCCarriesEverything(t *testing.T) {
	e := at(fault.Client, fault.Request, fault.Unsupported)
	e.Data, e.Hint, e.Server, e.UpstreamStatus = `"supported":["2025-11-25"]`, "Use another.", "github", 404
	e.Err = errors.New("secret cause")
	b := e.AppendJSONRPC([]byte("data: "), nil, fault.Place{})
	if !strings.HasPrefix(string(b), "data: ") || strings.Contains(string(b), "secret") {
		t.Errorf("got %s", b)
	}
	a := read(t, b[len("data: "):])
	if string(a.ID) != "null" || a.Error.Data["hint"] != "Use another." || a.Error.Data["server"] != "github" || a.Error.Data["upstream_status"] != 404.0 {
		t.Errorf("got %+v", a)
	}
	if s, ok := a.Error.Data["supported"].([]any); !ok || len(s) != 1 {
		t.Errorf("extra data is lost: %v", a.Error.Data)
	}
	if _, ok := a.Error.Data["region"]; ok {
		t.Error("an empty region is told")
	}
}

var hostile = []string{"a\r\nX-Injected: 1", "caf\u00e9", "\xff\xfe", "a;kind=ok", "\x00\x1f\x7f", `"\`, "\u2028", strings.Repeat("x", 5000), "a\xc3"}

func TestHostileTextStaysInItsPlace(t *testing.T) {
	for _, text := range hostile {
		e := &fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.Reset, Server: text, Message: text, Hint: text}
		header := e.Header()
		for i := range len(header) {
			if c := header[i]; c < 0x20 || c >= 0x7f {
				t.Errorf("header of %q is %q", text, header)
			}
		}
		if strings.Count(header, ";") != 3 || strings.Count(header, "kind=") != 1 || len(header) > 256 {
			t.Errorf("header of %.40q has foreign parameters: %.300q", text, header)
		}
		a := read(t, e.AppendJSONRPC(nil, []byte("1"), fault.Place{Region: text, TraceID: text}))
		if want := strings.ToValidUTF8(text, "\uFFFD"); utf8.ValidString(text) && a.Error.Message != want {
			t.Errorf("message %q reads as %q", text, a.Error.Message)
		}
		checkGRPC(t, e, codes.Unavailable)
	}
}

func FuzzFacesAreWellFormed(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := &fault.Error{Hop: fault.Upstream, Phase: fault.Body, Kind: fault.Reset, Server: text, Message: text}
		read(t, e.AppendJSONRPC(nil, nil, fault.Place{TraceID: text}))
		if header := e.Header(); strings.ContainsFunc(header, func(r rune) bool { return r < 0x20 || r >= 0x7f }) {
			t.Fatalf("header %q", header)
		}
		checkGRPC(t, e, codes.Unavailable)
	})
}

func BenchmarkAppendJSONRPC(b *testing.B) {
	e := at(fault.Upstream, fault.Connect, fault.Refused)
	e.Server, e.Hint = "everything", "Start the server, or mend its URL."
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSONRPC(buf[:0], []byte("1"), fault.Place{Region: "eu", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"})
	}
}

package auth_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/auth"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/fault"
)

const metadata = "https://gw.test/.well-known/oauth-protected-resource/github/mcp"

// refusal is the fault with which the gate answers these headers.
func refusal(t *testing.T, h http.Header) *fault.Error {
	t.Helper()
	_, err := new(auth.Gate).Admit(t.Context(), table.New(table.Config{}), h, nil)
	f := fault.As(err)
	if f == nil {
		t.Fatal(err)
	}
	return f
}

func TestChallenges(t *testing.T) {
	none, bad := refusal(t, headers()), refusal(t, headers(lite, unknown))
	odd := &fault.Error{Hop: fault.Client, Phase: fault.Auth, Kind: fault.Unauthenticated, Message: "a \"b\" \\ c\r\nX: 1 é"}
	for _, c := range []struct {
		f         *fault.Error
		metadata  string
		want, not string
	}{
		{none, "", `Bearer realm="hopgate"`, "error"},
		{bad, "", `Bearer realm="hopgate"`, "error"},
		{none, metadata, `Bearer resource_metadata="` + metadata + `"`, "error"},
		{nil, metadata, `Bearer resource_metadata="` + metadata + `"`, "error"},
		{bad, metadata, `Bearer resource_metadata="` + metadata + `", error="invalid_token", error_description="the gateway doesn't know the key in x-litellm-api-key"`, unknown},
		{odd, metadata, `Bearer resource_metadata="` + metadata + `", error="invalid_token", error_description="a 'b' ' c??X: 1 ?"`, ""},
		{bad, metadata + "\"", `Bearer realm="hopgate"`, "resource"},
		{bad, metadata + "\r\nX: 1", `Bearer realm="hopgate"`, "resource"},
		{bad, "https://gw.test/ x", `Bearer realm="hopgate"`, "resource"},
	} {
		got := auth.Challenge(c.f, c.metadata)
		if got != c.want || c.not != "" && strings.Contains(got, c.not) || strings.ContainsAny(got, "\r\n") {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

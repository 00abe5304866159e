package redact_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/proto/redact"
)

func TestTextMasksWhatLooksMadeByAMachine(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"/everything/mcp":              "/everything/mcp",
		"/everything_server_v2/mcp":    "/everything_server_v2/mcp",
		"the-internal-github-server-2": "the-internal-github-server-2",
		"streamable_http_2025_11_25":   "streamable_http_2025_11_25",
		"/.well-known/oauth-authorization-server/a/mcp":              "/.well-known/oauth-authorization-server/a/mcp",
		"/v1/mcp/network/client-ip":                                  "/v1/mcp/network/client-ip",
		"spec.auth.token_tls.server_name":                            "spec.auth.token_tls.server_name",
		"sk-live1":                                                   "****",
		"/sk-live1/mcp":                                              "/****/mcp",
		"apikey/SK-abcdefgh":                                         "apikey/****",
		"Bearer QxZrtPlmWvBnKjHgFdSa":                                "Bearer ****",
		"x-key: a42yRK5PBmgAOTdWw2BZ":                                "x-key: ****",
		"Authorization=a42yRK5PBmgAOTdWw2BZ":                         "****",
		"0f8fad5b-d9cb-469f-a165-70867728950e":                       "****",
		"/key/AKIAIOSFODNN7EXAMPLE/x":                                "/key/****/x",
		"https://h/a?token=SjMkF8cnBCKERN23QJPARPF4bzAV":             "https://h/a?****",
		"eyJhbGciOiJSUzI1NiJ9.e30.c2ln and eyJhbGciOiJub25lIn0.e30.": "**** and ****",
		"ghp_short, glpat-12345":                                     "****, ****",
	} {
		if got := redact.Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

// What is made of letters and digits is always seen; separators in the middle may make one in a hundred look like words.
func TestTextMasksRandomTokens(t *testing.T) {
	const n = 20_000 // of 0.7 % that are taken for words, one in a hundred is five deviations away
	missed := 0
	for range n {
		b := make([]byte, 20)
		_, _ = rand.Read(b) // never fails
		plain, parted := hex.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b)
		if got := redact.Text("/a/" + plain + "/mcp"); strings.Contains(got, plain) {
			t.Errorf("Text leaves %q", got)
		}
		if strings.Contains(redact.Text("/a/"+parted+"/mcp"), parted) {
			missed++
		}
	}
	if missed > n/100 {
		t.Errorf("Text leaves %d of %d tokens", missed, n)
	}
}

func TestTextWithNothingToHideCostsNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { redact.Text("/everything_server_v2/mcp") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkText(b *testing.B) {
	for b.Loop() {
		redact.Text("/everything/mcp")
	}
}

package redact_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/proto/redact"
	"go.yaml.in/yaml/v3"
)

const canary = "sk-canary-0123456789"

type holder struct {
	Public redact.Secret
	hidden redact.Secret
	many   []redact.Secret
}

func TestSecretCannotBePrinted(t *testing.T) {
	s := redact.NewSecret(canary)
	h := holder{s, s, []redact.Secret{s}}
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("m", "secret", s, "holder", h, "pointer", &s)
	}
	fmt.Fprintln(&log, s, &s, h, &h, fmt.Errorf("wrap %v", s))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%10.3s", "%T"} {
		fmt.Fprintf(&log, verb+verb+verb+verb+"\n", s, &s, h, &h)
	}
	j, err := json.Marshal(map[string]any{"s": s, "h": h, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(map[string]any{"s": s, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	log.Write(j)
	log.Write(y)
	hexed := fmt.Sprintf("%x", canary)
	if out := log.String(); strings.Contains(out, "canary") || strings.Contains(strings.ToLower(out), hexed) {
		t.Errorf("the secret shows:\n%s", out)
	}
	if !strings.Contains(string(j), `"[redacted]"`) || !strings.Contains(string(y), "[redacted]") {
		t.Errorf("encoders do not say [redacted]: %s %s", j, y)
	}
}

func TestSecretRevealsOnlyWhenAsked(t *testing.T) {
	s := redact.NewSecret(canary)
	if s.Reveal() != canary || s.Empty() || !s.Equal(redact.NewSecret(canary)) || s.Equal(redact.NewSecret("other")) {
		t.Error("a secret does not give back what it holds")
	}
	var zero redact.Secret
	if zero.Reveal() != "" || !zero.Empty() || !zero.Equal(redact.NewSecret("")) || zero.String() != "[redacted]" {
		t.Error("the zero secret is not the empty one")
	}
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"   ":                      "",
		"Bearer sk-abcdef1234":     "Bearer****1234",
		"bearer   sk-abcdef1234 ":  "bearer****1234",
		"sk-abcdef1234":            "****1234",
		"Bearer short":             "Bearer****",
		"short":                    "****",
		"elevenchars":              "****",
		"twelve_chars":             "****hars",
		"Basic dXNlcjpwYXNzd29yZA": "Basic****9yZA",
		"two words that are long":  "****long",
		"Bearer":                   "****",
		"sk-abcdef\r\nX: 1\n":      "****X:?1",
		"sk-abcdefghé":             "****gh??",
	} {
		if got := redact.Mask(in); got != want {
			t.Errorf("Mask(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestURLKeepsWordsAndMasksTheRest(t *testing.T) {
	for in, want := range map[string]string{
		"http://127.0.0.1:3001/mcp":                                "http://127.0.0.1:3001/mcp",
		"https://[::1]:8443/":                                      "https://[::1]:8443/",
		"https://mcp.example.com":                                  "https://mcp.example.com",
		"https://user:pw@mcp.example.com/mcp":                      "https://****@mcp.example.com/mcp",
		"https://h/mcp?api_key=abc&x=1":                            "https://h/mcp?api_key=****&x=****",
		"https://h/mcp?abcdef":                                     "https://h/mcp?****",
		"https://h/mcp?a1b2c3d4e5f6a7b8c9=1":                       "https://h/mcp?****",
		"https://h/api/key/hunter/mcp":                             "https://h/api/key/****/mcp",
		"https://h/API-Key/hunter":                                 "https://h/API-Key/****",
		"https://h/mcp;token=hunter/x":                             "https://h/mcp;token=****/x",
		"https://h/s/0f8fad5b-d9cb-469f-a165-70867728950e/mcp":     "https://h/s/****/mcp",
		"https://h/s/QxZrtPlmWvBnKjHgFdSa/mcp":                     "https://h/s/****/mcp",
		"https://h/s/sk-short1/mcp":                                "https://h/s/****/mcp",
		"https://h/s/%73%6b-abcdefgh12345678/mcp":                  "https://h/s/****/mcp",
		"https://h/s/1234567890123456/mcp":                         "https://h/s/****/mcp",
		"https://h/model-context-protocol/streamable_http_server/": "https://h/model-context-protocol/streamable_http_server/",
		"https://h/mcp#frag":                                       "https://h/mcp#****",
		"https://h/a b\u00e9":                                      "https://h/a%20b%C3%A9",
		"http://bad host/":                                         "(unreadable URL)",
		"mailto:me@example.com":                                    "(unreadable URL)",
	} {
		if got := redact.URL(in); got != want {
			t.Errorf("URL(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestOriginHasNoPathAndNoUser(t *testing.T) {
	for in, want := range map[string]string{
		"https://user:pw@mcp.example.com:8443/key/abc?x=1": "https://mcp.example.com:8443",
		"http://[::1]/mcp": "http://[::1]", "/mcp": "", "": "", "http://bad host/": "",
	} {
		if got := redact.Origin(in); got != want {
			t.Errorf("Origin(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzMasksAreHeaderSafe(f *testing.F) {
	f.Add("https://user:pw@h/key/abc?x=1#y")
	f.Add("Bearer sk-abcdef\r\n1234")
	f.Fuzz(func(t *testing.T, in string) {
		for _, out := range []string{redact.URL(in), redact.Origin(in), redact.Mask(in)} {
			for i := range len(out) {
				if c := out[i]; c < 0x20 || c >= 0x7f {
					t.Fatalf("%q becomes %q", in, out)
				}
			}
		}
	})
}

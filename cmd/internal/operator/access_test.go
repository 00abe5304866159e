package operator_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/cmd/internal/operator"
)

func TestWhichKeyIsFound(t *testing.T) {
	dir := t.TempDir()
	if _, err := operator.FindKey("", dir); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "--api-key") || !strings.Contains(err.Error(), dir) {
		t.Errorf("without any: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, operator.MasterKeyFile), []byte("sk-kept\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := operator.FindKey("", dir); key != "sk-kept" || err != nil {
		t.Errorf("kept: %q, %v", key, err)
	}
	if key, err := operator.FindKey("sk-given", dir); key != "sk-given" || err != nil {
		t.Errorf("given: %q, %v", key, err)
	}
}

func TestURLsOfTheAPI(t *testing.T) {
	for _, url := range []string{"http://127.0.0.1:4001", "https://admin.example.com", "http://[::1]:4001/"} {
		c, err := operator.Connect(operator.Access{API: url, Key: "k"})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		c.Close()
	}
	for _, url := range []string{"", "127.0.0.1:4001", "ftp://a", "http://", "http://:4001", "http://a/v1", "http://sk-key@a", "http://a?x=1"} {
		_, err := operator.Connect(operator.Access{API: url, Key: "k"})
		if err == nil || !strings.Contains(err.Error(), "--api") || strings.Contains(err.Error(), "sk-key") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestTargets(t *testing.T) {
	for in, want := range map[string]string{
		"servers": "server/", "server/one": "server/one", "Server one": "server/one", "apikeys": "apikey/", "api_key/ci": "apikey/ci", "changes": "change/", "change/01M": "change/01M", "settings/default": "settings/default", "ingresses": "ingress/", "identity-providers": "identityprovider/", "IdentityProvider/corp": "identityprovider/corp", "secrets": "secret/",
	} {
		kind, name, err := operator.Target(strings.Fields(in))
		if got := kind + "/" + name; got != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{"sever": "kinds are server, apikey, team, toolset, ingress, identityprovider, secret, settings, overlay and change", "server/one two": "give the name once"} {
		if _, _, err := operator.Target(strings.Fields(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}

func TestArguments(t *testing.T) {
	for name, c := range map[string]struct {
		in   []string
		want string
	}{
		"none":    {nil, `{}`},
		"pairs":   {[]string{"a=1", "b=two", "c=[1, 2]", "d=", "e=x=y", `f="2"`, "g=true"}, `{"a":1,"b":"two","c":[1,2],"d":"","e":"x=y","f":"2","g":true}`},
		"object":  {[]string{`{"a": 9007199254740993}`}, `{"a": 9007199254740993}`},
		"integer": {[]string{"a=9007199254740993", "b=1.0"}, `{"a":9007199254740993,"b":1.0}`},
	} {
		got, err := operator.Arguments(c.in)
		if err != nil || string(got) != c.want || !json.Valid(got) {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
	for in, want := range map[string]string{"alone": "key=value", "=1": "key=value", "{bad": "not a JSON object", `[1]`: "key=value"} {
		if _, err := operator.Arguments([]string{in}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
	if _, err := operator.Arguments([]string{"a=1", "a=2"}); err == nil {
		t.Error("a name twice is taken")
	}
}

func TestHowLongAKeyLives(t *testing.T) {
	now := time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)
	for _, good := range []string{"", "12h", "30d", "1h30m", "36500d"} {
		if err := new(operator.NewKey).ExpireIn(good, now); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"soon", "0h", "-1d", "d", "1.5d", "30 d", "999999999d", "106752d", "36501d"} {
		if err := new(operator.NewKey).ExpireIn(bad, now); err == nil || !strings.Contains(err.Error(), "--expires") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestKeysAreRandomAndLong(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		key := operator.Secret()
		if len(key) != 35 || !strings.HasPrefix(key, "sk-") || seen[key] {
			t.Fatalf("%s", key)
		}
		seen[key] = true
	}
	if got := operator.Digest("sk-1234"); len(got) != 64 {
		t.Errorf("digest %s", got)
	}
}

func TestErrorsOfTheAPIAreExplained(t *testing.T) {
	s, err := status.New(codes.InvalidArgument, "2 problems").WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "objects[0].server.spec.endpoints[0].url", Description: "is not a URL; write http://host/path"}, {Field: "objects[1].apikey.name", Description: "is taken"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := "2 problems\n  objects[0].server.spec.endpoints[0].url: is not a URL; write http://host/path\n  objects[1].apikey.name: is taken"
	if got := operator.Explain(s.Err()).Error(); got != want {
		t.Errorf("got %s", got)
	}
	for code, want := range map[codes.Code]string{codes.Unavailable: "x", codes.Unauthenticated: "the admin API doesn't know this key: x", codes.NotFound: "x"} {
		if got := operator.Explain(status.Error(code, "x")).Error(); got != want {
			t.Errorf("%s: %s", code, got)
		}
	}
	if got := operator.Explain(status.Error(codes.Unavailable, "connection error: x")).Error(); got != "the admin API can't be reached: connection error: x" {
		t.Errorf("got %s", got)
	}
	if err := operator.Explain(nil); err != nil {
		t.Errorf("no error is %v", err)
	}
	if plain := errors.New("plain"); !errors.Is(operator.Explain(plain), plain) {
		t.Error("another error is changed")
	}
}

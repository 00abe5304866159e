package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/secret"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

const hiddenValue, otherValue, numberValue = `ghp_+hidden/value?0123456789`, `ghp_other+value/9876543210`, `27182818284590`

func valued(value string) string { return fmt.Sprintf(`{"spec":{"value":%q}}`, value) }

// pushed is a stored secret as a data plane gets it.
func pushed(t *testing.T, s *memstore.Store, kek *secret.KEK, name string) (*configv1.Secret, confset.Object) {
	t.Helper()
	h, err := s.Get(t.Context(), confset.Key{Kind: "secret", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	o, err := secret.OpenHead(kek)(h)
	if err != nil {
		t.Fatal(err)
	}
	m := &configv1.Secret{}
	if err := proto.Unmarshal(o.Body, m); err != nil {
		t.Fatal(err)
	}
	return m, o
}

// forms are the spellings in which a value could leak.
func forms(value string) []string {
	quoted, _ := json.Marshal(value)
	return []string{
		value, base64.StdEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value)), base64.RawStdEncoding.EncodeToString([]byte(value)),
		hex.EncodeToString([]byte(value)), strings.ToUpper(hex.EncodeToString([]byte(value))), url.QueryEscape(value), url.PathEscape(value), strings.Trim(string(quoted), `"`),
	}
}

// dump is everything a store holds: heads, bodies of all times, change records, events.
func dump(t *testing.T, s *memstore.Store) []byte {
	t.Helper()
	var out bytes.Buffer
	snap, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&out, "%+v", snap)
	for _, h := range snap.Heads {
		out.Write(h.Object.Body)
	}
	changes, err := s.Changes(t.Context(), "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		fmt.Fprintf(&out, "%+v", c)
		for _, o := range c.Objects {
			for _, digits := range []string{o.Before, o.After} {
				var hash confset.Hash
				if _, err := hex.Decode(hash[:], []byte(digits)); err != nil || digits == "" {
					continue
				}
				body, err := s.Body(t.Context(), hash)
				if err != nil {
					t.Fatal(err)
				}
				out.Write(body)
			}
		}
	}
	return out.Bytes()
}

func TestASecretIsNowhereToBeSeen(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	s := memstore.New()
	p := start(t, s, withTracer(trace.NewTracerProvider(trace.WithSpanProcessor(spans))))
	var said strings.Builder
	do := func(status int, method, path, body string, extra ...string) answer {
		t.Helper()
		a := p.do(method, path, body, extra...)
		if a.status != status {
			t.Errorf("%s %s: status %d, want %d: %s", method, path, a.status, status, a.body)
		}
		fmt.Fprintf(&said, "%v %s", a.header, a.body)
		return a
	}
	do(200, "PUT", "/v1/secrets/token?validate_only=true", valued(hiddenValue))
	first := do(200, "PUT", "/v1/secrets/token?request_id=00000000-0000-4000-8000-000000000001", valued(hiddenValue))
	do(200, "PUT", "/v1/secrets/token?request_id=00000000-0000-4000-8000-000000000001", valued(hiddenValue))
	do(200, "PUT", "/v1/secrets/token", valued(otherValue))
	do(200, "PATCH", "/v1/secrets/token?update_mask=spec.value", valued(hiddenValue))
	stale := do(412, "PUT", "/v1/secrets/token", valued(otherValue), "If-Match", first.header.Get("ETag"))
	do(200, "GET", "/v1/secrets/token", "")
	do(200, "GET", "/v1/secrets", "")
	do(200, "POST", "/v1/changes", `{"objects":[{"secret":{"name":"second",`+valued(hiddenValue)[1:]+`}]}`)
	do(200, "GET", "/v1/changes", "")
	do(400, "PUT", "/v1/secrets/Bad%20Name", valued(hiddenValue))
	do(400, "PUT", "/v1/secrets/token", valued(hiddenValue+"\n"))
	do(400, "PUT", "/v1/secrets/token", `{"spec":{"vlaue":"`+hiddenValue+`"}}`)
	do(400, "PUT", "/v1/secrets/token", `{"spec":"`+hiddenValue+`"}`)
	do(400, "PUT", "/v1/secrets/token", `{"spec":{"value":["`+hiddenValue+`"]}}`)
	do(400, "PUT", "/v1/secrets/token", `{"spec":{"sealed":"`+base64.StdEncoding.EncodeToString([]byte(hiddenValue))+`"}}`)
	do(400, "PUT", "/v1/secrets/token", `{"spec":{"value":"`+hiddenValue+`"`)
	do(400, "PUT", "/v1/secrets/token", `{"spec":{"value":`+numberValue+`}}`)
	do(400, "POST", "/v1/changes", `{"objects":[{"secret":{"name":"token","spec":{"value":`+numberValue+`}}}]}`)
	do(200, "DELETE", "/v1/secrets/second", "")
	if !strings.Contains(stale.body, "changed since that etag in spec.value") {
		t.Errorf("a lost race doesn't name the field: %s", stale.body)
	}
	h, err := s.Get(t.Context(), confset.Key{Kind: "secret", Name: "token"})
	if err != nil {
		t.Fatal(err)
	}
	stored := &configv1.Secret{}
	if err := proto.Unmarshal(h.Object.Body, stored); err != nil || stored.GetSpec().GetValue() != "" || len(stored.GetSpec().GetSealed()) == 0 {
		t.Fatalf("stored: %v %v", stored, err)
	}
	var traced strings.Builder
	for _, span := range spans.Ended() {
		fmt.Fprintf(&traced, "%s %v %v %v", span.Name(), span.Attributes(), span.Events(), span.Status())
	}
	for what, text := range map[string]string{"answers": said.String(), "log": p.log.String(), "spans": traced.String(), "store": string(dump(t, s))} {
		if len(text) < 100 {
			t.Errorf("%s: only %q", what, text)
		}
		for _, value := range []string{hiddenValue, otherValue, numberValue} {
			for _, form := range forms(value) {
				if strings.Contains(text, form) {
					t.Errorf("%s hold the value as %q", what, form)
				}
			}
		}
		if what == "store" {
			continue
		}
		for _, form := range forms(string(stored.GetSpec().GetSealed())) {
			if strings.Contains(text, form) {
				t.Errorf("%s hold the sealed value", what)
			}
		}
	}
}

func TestAValueStaysUntilAnotherIsWritten(t *testing.T) {
	s, kek := memstore.New(), testKEK(t)
	p := start(t, s, withKEK(kek))
	generation := func(status int, method, path, body string) string {
		t.Helper()
		return str(p.must(status, method, path, body), "meta", "generation")
	}
	if g := generation(200, "PUT", "/v1/secrets/token", valued(hiddenValue)); g != "1" {
		t.Errorf("made: generation %s", g)
	}
	if g := generation(200, "PUT", "/v1/secrets/token", valued(hiddenValue)); g != "1" {
		t.Errorf("the same value again: generation %s, want no change", g)
	}
	for i, write := range [][3]string{
		{"PUT", "/v1/secrets/token", `{"labels":{"n":"2"}}`},
		{"PUT", "/v1/secrets/token", `{"labels":{"n":"3"},"spec":{}}`},
		{"PATCH", "/v1/secrets/token", `{"labels":{"n":"4"}}`},
		{"PATCH", "/v1/secrets/token?update_mask=labels,spec", `{"labels":{"n":"5"}}`},
		{"PATCH", "/v1/secrets/token?update_mask=labels,spec.value,spec.sealed", `{"labels":{"n":"6"}}`},
		{"PATCH", "/v1/secrets/token?update_mask=*", `{"labels":{"n":"7"}}`},
	} {
		if g := generation(200, write[0], write[1], write[2]); g != fmt.Sprint(i+2) {
			t.Errorf("%v: generation %s, want %d", write, g, i+2)
		}
		if m, _ := pushed(t, s, kek, "token"); m.GetSpec().GetValue() != hiddenValue || m.GetLabels()["n"] != fmt.Sprint(i+2) {
			t.Errorf("%v: labels %v, the value is kept: %v", write, m.GetLabels(), m.GetSpec().GetValue() == hiddenValue)
		}
	}
	p.must(200, "POST", "/v1/changes", `{"owner":"a.yaml","objects":[{"secret":{"name":"token","labels":{"n":"8"}}}]}`)
	if m, _ := pushed(t, s, kek, "token"); m.GetSpec().GetValue() != hiddenValue || m.GetLabels()["n"] != "8" {
		t.Error("a change without a value lost it")
	}
	p.must(200, "POST", "/v1/changes", `{"owner":"a.yaml","objects":[{"secret":{"name":"token",`+valued(otherValue)[1:]+`}]}`)
	if m, _ := pushed(t, s, kek, "token"); m.GetSpec().GetValue() != otherValue {
		t.Error("another value wasn't taken")
	}
}

func TestWhatASecretCantBe(t *testing.T) {
	p := start(t, memstore.New())
	const missing = "spec.value: is missing; write the credential"
	const sealed = "spec.sealed: is internal; remove it, and write value to change the secret"
	const literal = "spec.value: names an environment variable instead of the credential; the command line expands it: use hopgate apply or secret set"
	p.must(200, "PUT", "/v1/secrets/there", valued(hiddenValue))
	for what, c := range map[string]struct{ method, path, body, want string }{
		"no value at first":           {"PUT", "/v1/secrets/token", `{"labels":{"a":"b"}}`, missing},
		"an empty value at first":     {"PUT", "/v1/secrets/token", `{"spec":{"value":""}}`, missing},
		"no value in a change":        {"POST", "/v1/changes", `{"objects":[{"secret":{"name":"token"}},{"server":{"name":"a"}}]}`, "objects[0].secret." + missing},
		"sealed":                      {"PUT", "/v1/secrets/there", `{"spec":{"sealed":"AAAA"}}`, sealed},
		"sealed in a patch":           {"PATCH", "/v1/secrets/there", `{"spec":{"sealed":"AAAA"}}`, sealed},
		"sealed beside the mask":      {"PATCH", "/v1/secrets/there?update_mask=labels", `{"spec":{"sealed":"AAAA"}}`, sealed},
		"sealed in a change":          {"POST", "/v1/changes", `{"objects":[{"secret":{"name":"there","spec":{"sealed":"AAAA"}}}]}`, "objects[0].secret." + sealed},
		"sealed and value":            {"PUT", "/v1/secrets/token", `{"spec":{"value":"x","sealed":"AAAA"}}`, sealed},
		"a secret that comes anew":    {"POST", "/v1/changes", `{"objects":[{"secret":{"name":"token"}}]}`, "objects[0].secret." + missing},
		"a variable":                  {"PUT", "/v1/secrets/token", valued("${TOKEN}"), literal},
		"a variable as in LiteLLM":    {"PATCH", "/v1/secrets/there", valued("os.environ/TOKEN"), literal},
		"a variable in a change":      {"POST", "/v1/changes", `{"objects":[{"secret":{"name":"there","spec":{"value":"${_T1}"}}}]}`, "objects[0].secret." + literal},
		"a variable that is tried":    {"PUT", "/v1/secrets/token?validate_only=true", valued("${TOKEN}"), literal},
		"a patch of what isn't there": {"PATCH", "/v1/secrets/token", valued(hiddenValue), ""},
	} {
		a := p.do(c.method, c.path, c.body)
		var m map[string]any
		if err := json.Unmarshal([]byte(a.body), &m); err != nil || a.status == 200 {
			t.Fatalf("%s: %d %s", what, a.status, a.body)
		}
		if got := violations(m); c.want != "" && (len(got) == 0 || got[0] != c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

func TestAValueThatOnlyLooksLikeAVariableIsTaken(t *testing.T) {
	p := start(t, memstore.New())
	for _, value := range []string{"$TOKEN", "${TOKEN", "${to-ken}", "${A}b", "x${TOKEN}", "os.environ/", "os.environ/a/b", "environ/TOKEN"} {
		p.must(200, "PUT", "/v1/secrets/token", valued(value))
	}
}

// Who takes a name for the value, or the other way round, must not find it in the log for ever.
func TestAKeyInPlaceOfANameIsNotTold(t *testing.T) {
	p := start(t, memstore.New())
	const key, small, token = "sk-Kw7YbJ3qgHkVq0mPzX1cT5nL", "sk-abcdef0123456789", "ghp_Aa0123456789"
	for path, code := range map[string]int{"apikeys/" + key: 404, "apikeys/" + small: 404, "secrets/" + token: 404} {
		for method, body := range map[string]string{"GET": "", "DELETE": "", "PATCH": "{}"} {
			if a := p.do(method, "/v1/"+path, body); a.status != code || strings.Contains(a.body, path[8:]) {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
	}
	for path, body := range map[string]string{"apikeys/" + key: `{}`, "secrets/" + token: valued("x")} {
		if a := p.do("PUT", "/v1/"+path, body); a.status != 400 || strings.Contains(a.body, path[8:]) {
			t.Errorf("PUT %s: %d %s", path, a.status, a.body)
		}
	}
	for _, name := range []string{key, small, token} {
		if strings.Contains(p.log.String(), name) {
			t.Errorf("the log tells %s", name)
		}
	}
}

func TestTheStatusOfASecretIsThatOfItsPushedBody(t *testing.T) {
	s, kek := memstore.New(), testKEK(t)
	p := start(t, s, withKEK(kek))
	put := p.must(200, "PUT", "/v1/secrets/token", valued(hiddenValue))
	_, o := pushed(t, s, kek, "token")
	if got := str(put, "status", "refusals", 0, "text"); got != o.Hash.String() {
		t.Errorf("asked for %s, pushed is %s", got, o.Hash)
	}
}

func TestASecretOfAnotherKEKCanBeWrittenAgain(t *testing.T) {
	s := memstore.New()
	start(t, s).must(200, "PUT", "/v1/secrets/token", valued(hiddenValue))
	kek := testKEK(t)
	p := start(t, s, withKEK(kek))
	if got := p.must(200, "GET", "/v1/secrets/token", ""); !strings.Contains(str(got, "status", "refusals", 0, "text"), "put the key file back") || str(got, "status", "refusals", 0, "node") != "cp-1" {
		t.Errorf("status %v", got)
	}
	got := violations(p.must(400, "PATCH", "/v1/secrets/token", `{"labels":{"a":"b"}}`))
	if len(got) != 1 || !strings.HasPrefix(got[0], "spec.value: is missing, and the stored one doesn't open") {
		t.Errorf("%q", got)
	}
	p.must(200, "PUT", "/v1/secrets/token", valued(hiddenValue))
	if m, _ := pushed(t, s, kek, "token"); m.GetSpec().GetValue() != hiddenValue {
		t.Error("the value wasn't sealed anew")
	}
}

// A body moved under another uid, as a restore by hand could do, doesn't open.
func TestARecreatedSecretNeedsItsValue(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/secrets/token", valued(hiddenValue))
	p.must(200, "DELETE", "/v1/secrets/token", "")
	p.must(400, "PUT", "/v1/secrets/token", `{}`)
	p.must(200, "PUT", "/v1/secrets/token", valued(hiddenValue))
}

func TestWritesOfEveryKindAreAudited(t *testing.T) {
	p := start(t, memstore.New())
	withKeys(p)
	routes := paths(t)
	for _, kind := range []string{"ingress", "team", "identityprovider", "secret", "toolset"} {
		path := strings.Replace(routes[map[string]string{"ingress": "PutIngress", "team": "PutTeam", "identityprovider": "PutIdentityProvider",
			"secret": "PutSecret", "toolset": "PutToolset"}[kind]][1], "{name}", "sample", 1)
		before := len(p.log.lines(t))
		p.must(200, "PUT", path, samples[kind])
		p.must(400, "PUT", path, `{"spec":{"wrong":"`+sampleValue+`"}}`)
		p.as(viewerKey).must(403, "DELETE", path, "")
		p.must(200, "DELETE", path, "")
		var got []string
		for _, l := range p.log.lines(t)[before:] {
			got = append(got, str(l, "caller")+" "+str(l, "objects")+" "+str(l, "outcome"))
		}
		want := []string{"master " + kind + "/sample ok", "master  invalid_argument", "watcher  permission_denied", "master " + kind + "/sample ok"}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant:\n%s", kind, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if strings.Contains(p.log.String(), sampleValue) {
		t.Error("the log holds a value")
	}
}

package rules_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestViolationReadsAsOneSentence(t *testing.T) {
	for want, v := range map[string]rules.Violation{
		"spec.endpoints[0].url: has no host; write one": {Field: "spec.endpoints[0].url", Problem: "has no host", Fix: "write one"},
		"name: is missing":               {Field: "name", Problem: "is missing"},
		"is not JSON; write JSON":        {Problem: "is not JSON", Fix: "write JSON"},
		"line 7: name: is missing; mend": {Field: "name", Problem: "is missing", Fix: "mend", Line: 7},
	} {
		if got := v.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if rules.Violations(nil).Err() != nil {
		t.Error("no violations are an error")
	}
}

func TestKindsHaveManySpellings(t *testing.T) {
	if got := rules.Kinds(); !slices.Equal(got, []string{"server", "apikey", "team", "toolset", "ingress", "identityprovider", "secret", "settings", "overlay"}) {
		t.Errorf("kinds are %v", got)
	}
	for spelling, want := range map[string]string{
		"Server": "server", "servers": "server", "SERVER": "server", "ApiKey": "apikey", "apikeys": "apikey", "api_key": "apikey",
		"api-keys": "apikey", "Settings": "settings", "settings": "settings", "sealingring": "", "": "", "serverss": "",
		"Ingress": "ingress", "ingresses": "ingress", "IdentityProvider": "identityprovider", "identity_provider": "identityprovider",
		"identity-providers": "identityprovider", "identityproviders": "identityprovider", "Team": "team", "teams": "team", "Toolset": "toolset",
		"tool_sets": "toolset", "Secret": "secret", "secrets": "secret",
	} {
		if got, ok := rules.Canonical(spelling); got != want || ok != (want != "") {
			t.Errorf("Canonical(%q) = %q, %v", spelling, got, ok)
		}
	}
	for _, k := range rules.Kinds() {
		if again, ok := rules.Canonical(rules.Title(k)); !ok || again != k {
			t.Errorf("the title of %s leads to %q", k, again)
		}
		if len(rules.Check(k, rules.New(k))) == 0 {
			t.Errorf("an empty %s is fine", k)
		}
	}
	if rules.New("sealingring") != nil || rules.Title("sealingring") != "sealingring" {
		t.Error("an internal kind is offered to operators")
	}
}

func TestCheckRefusesTheWrongMessage(t *testing.T) {
	for _, vs := range []rules.Violations{rules.Check("server", &configv1.ApiKey{}), rules.Check("overlay", &configv1.Server{}), rules.Check("server", nil)} {
		if len(vs) != 1 || vs[0].Field != "kind" {
			t.Errorf("got %v", vs)
		}
	}
}

func TestNilMessagesAreViolationsNotPanics(t *testing.T) {
	for _, vs := range []rules.Violations{rules.Server(nil), rules.ApiKey(nil), rules.Settings(nil), rules.Team(nil), rules.Toolset(nil), rules.Ingress(nil),
		rules.IdentityProvider(nil), rules.Secret(nil)} {
		if len(vs) == 0 {
			t.Error("nothing is fine")
		}
	}
	if vs := rules.Server(&configv1.Server{Name: "s", Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{nil}}}); len(vs) != 1 {
		t.Errorf("got %v", vs)
	}
}

func TestBodyKeepsWhatOperatorsWrote(t *testing.T) {
	newer := []byte{0xf8, 0x07, 0x01} // field 127, which this version doesn't know
	a := &configv1.Server{Name: "s", Labels: map[string]string{"a": "1", "b": "2", "c": "3"}, Spec: &configv1.ServerSpec{Protocol: "auto"}}
	a.Spec.ProtoReflect().SetUnknown(newer)
	b := proto.Clone(a).(*configv1.Server)
	b.Meta = &configv1.ObjectMeta{Etag: "1", UpdateTime: timestamppb.Now()}
	b.Status = &configv1.ObjectStatus{Applied: 3}
	first, err := rules.Body(a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := rules.Body(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("meta and status change the body")
	}
	if b.Meta == nil || b.Status == nil {
		t.Error("Body changed its argument")
	}
	if !bytes.Contains(first, newer) {
		t.Error("an unknown field is lost")
	}
	var back configv1.Server
	if err := proto.Unmarshal(first, &back); err != nil || !proto.Equal(&back, a) {
		t.Errorf("the body reads as %v: %v", &back, err)
	}
}

func TestDurationsSizesAndRatios(t *testing.T) {
	for in, want := range map[string]time.Duration{"": 0, "0s": 0, "500ms": 500 * time.Millisecond, "1h30m": 90 * time.Minute} {
		if got, err := rules.Duration(in); err != nil || got != want {
			t.Errorf("Duration(%q) = %v, %v", in, got, err)
		}
	}
	for in, want := range map[string]int64{"": 0, "0": 0, "512": 512, "1B": 1, "64KiB": 64 << 10, "4MiB": 4 << 20, "1GiB": 1 << 30} {
		if got, err := rules.Size(in); err != nil || got != want {
			t.Errorf("Size(%q) = %v, %v", in, got, err)
		}
	}
	for in, want := range map[string]float64{"0": 0, "1": 1, "0.01": 0.01, ".5": 0.5, "1.0": 1} {
		if got, err := rules.Ratio(in); err != nil || got != want {
			t.Errorf("Ratio(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"x", "5", "1d", "4 MiB", "4MB", "-1", "1e3", "NaN", "99999999999999999999GiB", "9223372036854775807KiB"} {
		if _, err := rules.Duration(in); err == nil {
			t.Errorf("%q is a duration", in)
		}
		if n, err := rules.Size(in); err == nil && in != "5" {
			t.Errorf("%q is a size of %d", in, n)
		}
		if _, err := rules.Ratio(in); err == nil {
			t.Errorf("%q is a ratio", in)
		}
	}
}

func TestBuiltInDefaultsAreWithinTheRules(t *testing.T) {
	s := &configv1.Settings{Name: rules.SettingsName, Spec: &configv1.SettingsSpec{
		Limits: &configv1.Limits{Body: fmt.Sprint(rules.BodyLimit), Event: fmt.Sprint(rules.EventLimit), Result: fmt.Sprint(rules.ResultLimit),
			Depth: rules.Depth, StreamsPerPrincipal: rules.StreamsPerPrincipal},
		Timeouts: &configv1.Timeouts{Connect: rules.Connect.String(), FirstByte: rules.FirstByte.String(), Idle: rules.Idle.String(), Total: rules.Total.String()},
		Tracing:  &configv1.Tracing{SampleRatio: fmt.Sprint(rules.SampleRatio)},
	}}
	if vs := rules.Settings(s); len(vs) > 0 {
		t.Error(vs)
	}
}

func TestRegionNames(t *testing.T) {
	if vs := rules.Region("us-east_1"); len(vs) > 0 {
		t.Error(vs)
	}
	for _, bad := range []string{"", "EU", "1st", "a b", strings.Repeat("a", 33)} {
		if len(rules.Region(bad)) == 0 {
			t.Errorf("%q is a region", bad)
		}
	}
}

func TestSecretsAreNotEchoed(t *testing.T) {
	key := &configv1.ApiKey{Name: "k", Spec: &configv1.ApiKeySpec{Sha256: "sk-canary-1"}}
	server := &configv1.Server{Name: "s", Spec: &configv1.ServerSpec{Tls: &configv1.UpstreamTLS{CaPem: canary, ServerName: "https://" + canary}}}
	for _, u := range []string{"http://u:canary@h/", "http://h:canary/", "://canary", "http://h/canary key", "canary", "http://h/#canary", "ftp://canary/%zz"} {
		server.Spec.Endpoints = append(server.Spec.Endpoints, &configv1.Endpoint{Url: u})
	}
	all := append(rules.ApiKey(key), rules.Server(server)...)
	for _, in := range []string{`{"spec":{"sha256":["canary"]}}`, `{"meta":{"create_time":"canary"}}`, `{"spec": canary}`, `{"spec":{"user":"canary`, "\"canary\""} {
		all = append(all, rules.Strict((&configv1.ApiKey{}).ProtoReflect().Descriptor(), []byte(in))...)
	}
	if len(all) < 12 {
		t.Errorf("only %d violations: %v", len(all), all)
	}
	for _, v := range all {
		if strings.Contains(v.String(), canary) {
			t.Errorf("echoed: %s", v)
		}
	}
}

func TestStrictReadsRequestsOfTheAPI(t *testing.T) {
	request := (&adminv1.CreateChangeRequest{}).ProtoReflect().Descriptor()
	for in, want := range map[string]string{
		`{}`: "",
		`{"objects":[{"server":{"name":"s","spec":{"endpoints":[{"url":"http://h/"}]}}}],"validate_only":true}`: "",
		`{"objects":[{"server":{},"apikey":{}}]}`:  "objects[0].apikey: cannot stand beside server; remove one of the two",
		`{"objects":[{"sever":{}}]}`:               "objects[0].sever: is not a known field; did you mean server?",
		`{"deletions":[{"kind":1,"name":"s"}]}`:    `deletions[0].kind: is a number where text belongs; put it in quotes: "1"`,
		`{"validateOnly":true}`:                    "validateOnly: is not a known field; did you mean validate_only?",
		`{"validate_only":true,"validate_only":1}`: "validate_only: is there twice; remove one of the two",
		`[]`:                         "is a list where an object belongs; write an object with objects, deletions, validate_only, request_id, message, owner, set, prune, prune_many or rollout",
		`null`:                       "is nothing where an object belongs; write an object with objects, deletions, validate_only, request_id, message, owner, set, prune, prune_many or rollout",
		``:                           "is not JSON from line 1, column 1; write one JSON object in UTF-8",
		"{\n \"message\": \"\xff\"}": "is not JSON from line 2, column 14; write one JSON object in UTF-8",
		`{} {}`:                      "is not JSON from line 1, column 5; write one JSON object in UTF-8",
		"{\"objects\":" + strings.Repeat("[", 1000): "is not JSON we take: nested deeper than 64; write one JSON object in UTF-8",
	} {
		if got := rules.Strict(request, []byte(in)).Error(); got != want {
			t.Errorf("%.60s\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestStrictIsBounded(t *testing.T) {
	in := "{" + strings.Repeat(`"x":1,`, 5000) + `"y":1}`
	vs := rules.Strict((&configv1.Server{}).ProtoReflect().Descriptor(), []byte(in))
	if len(vs) != 101 || !strings.Contains(vs[100].Problem, "4901 more") {
		t.Errorf("%d violations, the last %v", len(vs), vs[len(vs)-1])
	}
}

func TestDecode(t *testing.T) {
	m := &configv1.Server{Name: "left over"}
	if err := rules.Decode([]byte(`{"labels":{"a":"b"},"spec":null}`), m); err != nil || m.Name != "" || m.Labels["a"] != "b" {
		t.Errorf("got %v, %v", m, err)
	}
	var vs rules.Violations
	if err := rules.Decode([]byte(`{"nme":1}`), m); !errors.As(err, &vs) || len(vs) != 1 || vs[0].Field != "nme" {
		t.Errorf("got %v", err)
	}
	mask := &adminv1.UpdateServerRequest{}
	if err := rules.Decode([]byte(`{"update_mask":"a,b_c canary"}`), mask); !errors.As(err, &vs) || strings.Contains(err.Error(), "canary") {
		t.Errorf("got %v", err)
	}
}

func TestDocumentsNameKindNameAndLine(t *testing.T) {
	file := "# first\n\nkind: Server\nname: a\nspec: {endpoints: [{url: http://h/}]}\n---\n\nkind: settings\n"
	docs, err := rules.Documents([]byte(file))
	if err != nil || len(docs) != 2 {
		t.Fatalf("got %v, %v", docs, err)
	}
	if d := docs[0]; d.Kind != "server" || d.Name != "a" || d.Line != 3 {
		t.Errorf("got %+v", d)
	}
	if d := docs[1]; d.Kind != "settings" || d.Name != "default" || d.Line != 8 {
		t.Errorf("got %+v", d)
	}
}

package operator_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/cmd/internal/operator"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// printed is what Print writes.
func printed(t interface {
	Helper()
	Fatal(...any)
}, format, head string, rows ...proto.Message) string {
	t.Helper()
	var b bytes.Buffer
	if err := operator.Print(&b, format, head, rows); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTables(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC))
	endpoints := []*configv1.Endpoint{{Url: "https://a.example.com/mcp"}, {Url: "https://b.example.com/mcp"}}
	for name, c := range map[string]struct {
		head string
		rows []proto.Message
		want string
	}{
		"servers": {operator.ServerHead, []proto.Message{
			&configv1.Server{Name: "one", Spec: &configv1.ServerSpec{Endpoints: endpoints}, Status: &configv1.ObjectStatus{Applied: 2, Rejected: 1}},
			&configv1.Server{Name: "another", Spec: &configv1.ServerSpec{Protocol: "modern", Endpoints: endpoints[:1]}},
		}, `
NAME      URL                                                   PROTOCOL   AUTH   APPLIED   REJECTED   PENDING
one       https://a.example.com/mcp https://b.example.com/mcp   auto       none   2         1          0
another   https://a.example.com/mcp                             modern     none   0         0          0
`},
		"keys": {operator.ApiKeyHead, []proto.Message{
			&configv1.ApiKey{Name: "ci", Spec: &configv1.ApiKeySpec{Sha256: "5994471a", Servers: []string{"one", "two"}, Groups: []string{"dev"}, Toolsets: []string{"triage"}, Tools: []*configv1.ToolRule{{Server: "*"}},
				Team: "core", Limits: &configv1.CallLimits{Rate: "100/s", Concurrency: 4}, Roles: []string{"debug"}, User: "b\tuild\x1b[31m\n", Expires: "2030-01-01T00:00:00Z"}},
			&configv1.ApiKey{Name: "none", Spec: &configv1.ApiKeySpec{}},
		}, `
NAME   USER           OPENS                                         TEAM   LIMITS             ROLES   EXPIRES
ci     b uild [31m    one,two,group:dev,toolset:triage (narrowed)   core   100/s, 4 at once   debug   2030-01-01T00:00:00Z
none   -              (none)                                        -      -                  -       never
`},
		"teams": {operator.TeamHead, []proto.Message{
			&configv1.Team{Name: "core", Spec: &configv1.TeamSpec{Servers: []string{"*"}, Limits: &configv1.CallLimits{Concurrency: 9}}, Status: &configv1.ObjectStatus{Applied: 2}},
		}, `
NAME   OPENS   LIMITS      APPLIED   REJECTED   PENDING
core   *       9 at once   2         0          0
`},
		"toolsets": {operator.ToolsetHead, []proto.Message{
			&configv1.Toolset{Name: "triage", Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{{Server: "a", Tool: "x"}, {Server: "b", Tool: "y"}}}},
			&configv1.Toolset{Name: "wide", Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{{Server: "a", Tool: "1"}, {Server: "a", Tool: "2"}, {Server: "a", Tool: "3"}, {Server: "a", Tool: "4"}, {Server: "a", Tool: "5"}, {Server: "a", Tool: "6"}, {Server: "a", Tool: "7"}}}},
		}, `
NAME     TOOLS                            APPLIED   REJECTED   PENDING
triage   a/x,b/y                          0         0          0
wide     a/1,a/2,a/3,a/4,a/5,and 2 more   0         0          0
`},
		"ingresses": {operator.IngressHead, []proto.Message{
			&configv1.Ingress{Name: "eu", Spec: &configv1.IngressSpec{Regions: []string{"eu"}, PublicOrigins: []string{"https://mcp.example.com"}, TrustedProxies: []string{"10.0.0.0/8"}, UseForwardedHeaders: true}},
			&configv1.Ingress{Name: "half", Spec: &configv1.IngressSpec{UseForwardedHeaders: true}},
			&configv1.Ingress{Name: "other", Spec: &configv1.IngressSpec{TrustedProxies: []string{"10.0.0.1"}, UseForwardedHeaders: true, ForwardedHeaders: []string{"forwarded"}}},
			&configv1.Ingress{Name: "plain"},
		}, `
NAME    REGIONS    PUBLIC ORIGINS            TRUSTED PROXIES   FORWARDED HEADERS         APPLIED   REJECTED   PENDING
eu      eu         https://mcp.example.com   10.0.0.0/8        x-forwarded-*             0         0          0
half    (others)   -                         (none)            no: no proxy is trusted   0         0          0
other   (others)   -                         10.0.0.1          forwarded                 0         0          0
plain   (others)   -                         (none)            no                        0         0          0
`},
		"identity providers": {operator.ProviderHead, []proto.Message{
			&configv1.IdentityProvider{Name: "corp", Spec: &configv1.IdentityProviderSpec{Issuer: "https://id.example.com", Audiences: []string{"mcp"}, Grants: make([]*configv1.ClaimGrant, 3)}},
		}, `
NAME   ISSUER                   AUDIENCES   GRANTS   APPLIED   REJECTED   PENDING
corp   https://id.example.com   mcp         3        0         0          0
`},
		"secrets": {operator.SecretHead, []proto.Message{
			&configv1.Secret{Name: "github-token", Spec: &configv1.SecretSpec{Value: "hush", Sealed: []byte("hush")}, Meta: &configv1.ObjectMeta{Generation: 2, UpdateTime: at}},
		}, `
NAME           GENERATION   CHANGED                APPLIED   REJECTED   PENDING
github-token   2            2026-11-23T05:00:00Z   0         0          0
`},
		"settings": {operator.SettingsHead, []proto.Message{&configv1.Settings{Name: "default", Meta: &configv1.ObjectMeta{Generation: 3, UpdateTime: at}}}, `
NAME      GENERATION   CHANGED
default   3            2026-11-23T05:00:00Z
`},
		"changes": {operator.ChangeHead, []proto.Message{&adminv1.Change{Id: "01M83", Time: at, Author: "master", Message: "why", Objects: make([]*adminv1.ChangedObject, 2)}}, `
ID      TIME                   AUTHOR   OBJECTS   MESSAGE
01M83   2026-11-23T05:00:00Z   master   2         why
`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := printed(t, operator.Table, c.head, c.rows...); got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
		})
	}
}

func TestTheFleet(t *testing.T) {
	ago := func(d time.Duration) *timestamppb.Timestamp {
		return timestamppb.New(time.Now().Add(-d - time.Millisecond))
	}
	var b bytes.Buffer
	err := operator.PrintFleet(&b, &adminv1.ListNodesResponse{Revision: 9, Nodes: []*adminv1.Node{
		{Node: "a", Region: "eu", Version: "v1", Connected: true, InSync: true, Revision: 9, AppliedTime: ago(time.Second), Upstreams: []*adminv1.Upstream{{Server: "one", Ok: true}}},
		{Node: "b", Region: "eu", Version: "v1", Connected: true, Revision: 8, AppliedTime: ago(3 * time.Second), Upstreams: []*adminv1.Upstream{{Server: "one", Ok: true}, {Server: "two", Error: "upstream connect refused", Time: ago(2 * time.Second), Open: []string{"http://a/mcp", "http://b/mcp"}, Drifted: []string{"search"}}},
			Rejected: []*adminv1.Rejected{{Kind: "server", Name: "two", Field: "spec.tls.ca_pem", Text: "holds no certificate", Rejected: true, Since: ago(4 * time.Second)}, {Kind: "server", Name: "one", Field: "spec", Text: "is odd", Since: ago(4 * time.Second)}}},
		{Node: "c", Region: "us", Version: "v1", Since: ago(5 * time.Second)},
		{Node: "d", Region: "us", Version: "v1", Connected: true, InSync: true, Suspect: true},
		{Node: "e", Region: "us", Version: "v1", Connected: true, InSync: true, Draining: true},
	}})
	want := `desired revision 9, 5 data planes
NODE   REGION   STATE           VERSION   REVISION   AGE   REJECTED   UPSTREAMS
a      eu       in sync         v1        9          1s    0          1 ok
b      eu       behind          v1        8          3s    2          1 ok, failing: two (upstream connect refused, 2s ago)
c      us       gone since 5s   v1        0          -     0          0 ok
d      us       suspect         v1        0          -     0          0 ok
e      us       draining        v1        0          -     0          0 ok
b refuses server/two: spec.tls.ca_pem: holds no certificate (for 4s)
b warns about server/one: spec: is odd (for 4s)
b sends no calls of the server two to http://a/mcp, http://b/mcp: it couldn't be reached or didn't answer
b sees that pinned tools of the server two have changed: search; look at them: hopgate tools two --pins
`
	if err != nil || b.String() != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, b.String(), want)
	}
	b.Reset()
	if err := operator.PrintFleet(&b, &adminv1.ListNodesResponse{Revision: 1}); err != nil || b.String() != "desired revision 1, 0 data planes\n" {
		t.Errorf("an empty fleet: %v %q", err, b.String())
	}
}

func TestYAMLReadsLikeAConfigFile(t *testing.T) {
	m := &configv1.Server{Name: "one", Labels: map[string]string{"team": "platform", "on": "yes"}, Spec: &configv1.ServerSpec{
		Endpoints: []*configv1.Endpoint{{Url: "https://a.example.com/mcp", Regions: []string{"eu"}}}, Timeouts: &configv1.Timeouts{Connect: "2s"}}, Meta: &configv1.ObjectMeta{Etag: "abc", Generation: 2}}
	want := `kind: Server
name: one
labels:
  "on": "yes"
  team: platform
spec:
  endpoints:
    - url: "https://a.example.com/mcp"
      regions:
        - eu
  timeouts:
    connect: 2s
meta:
  etag: abc
  generation: "2"
`
	if got := printed(t, operator.YAML, "", m); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := printed(t, operator.YAML, "", m, &configv1.Settings{Name: "default"}); !strings.HasSuffix(got, "---\nkind: Settings\nname: default\n") {
		t.Errorf("two documents:\n%s", got)
	}
}

func TestSecretsAreShownWithoutTheirValue(t *testing.T) {
	m := &configv1.Secret{Name: "github-token", Labels: map[string]string{"of": "github"}, Spec: &configv1.SecretSpec{Value: "hush", Sealed: []byte("hush")}}
	for _, format := range []string{operator.YAML, operator.JSON} {
		if got := printed(t, format, "", m); strings.Contains(got, "hush") || strings.Contains(got, "aHVzaA") || !strings.Contains(got, "Secret") || !strings.Contains(got, "github") {
			t.Errorf("%s shows %s", format, got)
		}
	}
}

func TestJSONIsOneObjectOrAList(t *testing.T) {
	a, b := &configv1.Server{Name: "a", Spec: &configv1.ServerSpec{Transport: "<&>"}}, &configv1.Settings{Name: "default"}
	if got, want := printed(t, operator.JSON, "", a), "{\n  \"kind\": \"Server\",\n  \"name\": \"a\",\n  \"spec\": {\n    \"transport\": \"<&>\"\n  }\n}\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(printed(t, operator.JSON, "", a, b)), &list); err != nil || len(list) != 2 || list[1]["kind"] != "Settings" {
		t.Errorf("a list: %v %v", list, err)
	}
	if got := printed(t, operator.JSON, ""); got != "[]\n" {
		t.Errorf("nothing is %q", got)
	}
	if err := operator.Print(&bytes.Buffer{}, "xml", "", nil); err == nil {
		t.Error("xml is printed")
	}
}

// words are what YAML could take for something else.
var words = []string{"", "yes", "No", "on", "null", "~", "1", "1e3", "0x1f", "1_000", ".inf", "2026-11-23", "12:30:45", "- a", "a: b", "a #b", " lead", "trail ", "tab\there", "line\nbreak", "'", "\"", "\\", "?", "!tag", "&a", "*a", "=", "<<", "%", "@", "`", "[", "{", ",", "日本", "é", "\u0085", "\u2028", "\U0001F600", "true", "|", ">", "---", "..."}

func TestWhatGetPrintsApplyReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.SampledFrom(words), rapid.StringMatching(`[ -~]{0,20}`))
		in := &configv1.Server{Name: "one", Labels: map[string]string{}, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: "http://127.0.0.1/mcp"}}}}
		for range rapid.IntRange(0, 4).Draw(t, "labels") {
			value := strings.Map(func(r rune) rune {
				if r < ' ' || r == '\u0085' || r == '\u2028' {
					return -1 // admission refuses it
				}
				return r
			}, text.Draw(t, "value"))
			in.Labels[rapid.SampledFrom([]string{"a", "on", "1", "no", "null", "x.y/z"}).Draw(t, "label")] = value
		}
		for _, format := range []string{operator.YAML, operator.JSON} {
			out := printed(t, format, "", in)
			docs, err := rules.Documents([]byte(out))
			if err != nil || len(docs) != 1 {
				t.Fatalf("%v\n%s", err, out)
			}
			if !proto.Equal(docs[0].Message, in) {
				t.Fatalf("read back as %v\n%s", docs[0].Message, out)
			}
		}
	})
}

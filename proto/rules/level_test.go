package rules_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// firstVersion is every field below name and labels that the first version had. It is closed: a field added later belongs into the table of
// levels, at a level above those that data planes without it say.
var firstVersion = strings.Fields(`
	server.spec.endpoints server.spec.endpoints.url server.spec.endpoints.regions server.spec.protocol server.spec.auth
	server.spec.timeouts server.spec.timeouts.connect server.spec.timeouts.first_byte server.spec.timeouts.idle server.spec.timeouts.total
	server.spec.tls server.spec.tls.ca_pem server.spec.tls.server_name
	apikey.spec.sha256 apikey.spec.user apikey.spec.servers apikey.spec.roles apikey.spec.expires apikey.spec.trust_trace_context
	settings.spec.limits settings.spec.limits.body settings.spec.limits.event settings.spec.limits.result settings.spec.limits.depth
	settings.spec.limits.streams_per_principal settings.spec.timeouts settings.spec.timeouts.connect settings.spec.timeouts.first_byte
	settings.spec.timeouts.idle settings.spec.timeouts.total settings.spec.tracing settings.spec.tracing.sample_ratio`)

// eachField calls f for every field of every kind below its spec, with an object in which only that field is set.
func eachField(f func(path string, body []byte)) {
	var walk func(path string, md protoreflect.MessageDescriptor, wrap func([]byte) []byte)
	walk = func(path string, md protoreflect.MessageDescriptor, wrap func([]byte) []byte) {
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			at := path + "." + string(fd.Name())
			f(at, wrap(filled(fd)))
			if fd.Message() != nil && !fd.IsMap() {
				walk(at, fd.Message(), func(b []byte) []byte { return wrap(within(fd.Number(), b)) })
			}
		}
	}
	for _, kind := range rules.Kinds() {
		spec := rules.New(kind).ProtoReflect().Descriptor().Fields().ByName("spec")
		walk(kind+".spec", spec.Message(), func(b []byte) []byte { return within(spec.Number(), b) })
	}
}

func within(number protowire.Number, b []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), b)
}

// filled is a field with some value: an empty message, one byte of text, or 1.
func filled(fd protoreflect.FieldDescriptor) []byte {
	switch {
	case fd.Message() != nil:
		return within(fd.Number(), nil)
	case fd.Kind() == protoreflect.StringKind, fd.Kind() == protoreflect.BytesKind:
		return within(fd.Number(), []byte("x"))
	}
	return protowire.AppendVarint(protowire.AppendTag(nil, fd.Number(), protowire.VarintType), 1)
}

// The field that somebody adds and forgets to declare would be pushed to data planes that serve the object without it.
func TestEveryFieldAfterTheFirstVersionNeedsItsLevel(t *testing.T) {
	seen := 0
	eachField(func(path string, body []byte) {
		first := slices.Contains(firstVersion, path)
		if first {
			seen++
		}
		kind, _, _ := strings.Cut(path, ".")
		if level := rules.Level(kind, body); first != (level == 1) {
			t.Errorf("%s needs level %d; a field of the first version: %v", path, level, first)
		}
	})
	if seen != len(firstVersion) {
		t.Errorf("%d of the %d fields of the first version are there", seen, len(firstVersion))
	}
}

func over(s *configv1.ServerSpec) *configv1.Overlay {
	return &configv1.Overlay{Name: "o", Spec: &configv1.OverlaySpec{Kind: "server", Patch: &configv1.OverlaySpec_Server{Server: s}}}
}

func TestLevelIsThatOfWhatIsSet(t *testing.T) {
	endpoints := []*configv1.Endpoint{{Url: "https://a.example.com/mcp", Regions: []string{"eu"}}}
	labels := map[string]string{"team": "search"}
	for name, c := range map[string]struct {
		obj  proto.Message
		want int32
	}{
		"a server of the first version": {&configv1.Server{Name: "a", Labels: labels, Spec: &configv1.ServerSpec{Transport: "streamable_http", Endpoints: endpoints, Protocol: "auto",
			Timeouts: &configv1.Timeouts{Total: "5s"}, Tls: &configv1.UpstreamTLS{ServerName: "x"}}}, 1},
		"no spec":                  {&configv1.Server{Name: "a"}, 1},
		"auth without content":     {&configv1.Server{Spec: &configv1.ServerSpec{Auth: &configv1.Auth{}}}, 1},
		"auth that the first knew": {&configv1.Server{Spec: &configv1.ServerSpec{Auth: &configv1.Auth{Type: "none"}}}, 1},
		"passthrough":              {&configv1.Server{Spec: &configv1.ServerSpec{Auth: &configv1.Auth{Type: "passthrough"}}}, 2},
		"a credential":             {&configv1.Server{Spec: &configv1.ServerSpec{Auth: &configv1.Auth{Value: &configv1.Value{Secret: "s"}}}}, 2},
		"internal callers":         {&configv1.Server{Spec: &configv1.ServerSpec{ReachableFrom: "internal"}}, 2},
		"a limit of a tool":        {&configv1.Server{Spec: &configv1.ServerSpec{ToolLimits: []*configv1.ToolLimits{{Tool: "x"}}}}, 2},
		"a key of the first version": {&configv1.ApiKey{Name: "k", Labels: labels, Spec: &configv1.ApiKeySpec{Sha256: strings.Repeat("a", 64), User: "u", Servers: []string{"*"},
			Roles: []string{"debug"}, Expires: "2027-01-01T00:00:00Z", TrustTraceContext: true}}, 1},
		"a key with a team":    {&configv1.ApiKey{Spec: &configv1.ApiKeySpec{Team: "core"}}, 2},
		"a key with a rule":    {&configv1.ApiKey{Spec: &configv1.ApiKeySpec{Tools: []*configv1.ToolRule{{Server: "*"}}}}, 2},
		"settings":             {&configv1.Settings{Name: "default", Spec: &configv1.SettingsSpec{Limits: &configv1.Limits{Body: "1MiB"}}}, 1},
		"a sealing ring":       {&configv1.SealingRing{Name: "session", Keys: []*configv1.SealingKey{{Id: 1}}}, 1},
		"a team with nothing":  {&configv1.Team{}, 2},
		"a secret":             {&configv1.Secret{Name: "s"}, 2},
		"an identity provider": {&configv1.IdentityProvider{Name: "i"}, 2},
		"an overlay":           {&configv1.Overlay{Name: "o"}, 3},
		"an overlay of old":    {over(&configv1.ServerSpec{Transport: "streamable_http", ReachableFrom: "internal"}), 3},
		"one that hides tools": {over(&configv1.ServerSpec{Tools: &configv1.ServerTools{Deny: []string{"x"}}}), 4},
		"several endpoints":    {&configv1.Server{Spec: &configv1.ServerSpec{Endpoints: append(endpoints, endpoints...)}}, 1},
		"a hidden tool":        {&configv1.Server{Spec: &configv1.ServerSpec{Tools: &configv1.ServerTools{Deny: []string{"x"}}}}, 4},
		"a breaker":            {&configv1.Server{Spec: &configv1.ServerSpec{Resilience: &configv1.Resilience{Retries: 1}}}, 4},
		"another transport":    {&configv1.Server{Spec: &configv1.ServerSpec{Transport: "sse"}}, 4},
		"a time for lists":     {&configv1.Settings{Name: "default", Spec: &configv1.SettingsSpec{Timeouts: &configv1.Timeouts{List: "1s"}}}, 4},
		"a toolset":            {&configv1.Toolset{Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{{Server: "a", Tool: "x"}}}}, 2},
		"a toolset's own name": {&configv1.Toolset{Spec: &configv1.ToolsetSpec{Tools: []*configv1.ToolsetTool{{Server: "a", Tool: "x", Name: "y"}}}}, 4},
	} {
		kind := strings.ToLower(string(c.obj.ProtoReflect().Descriptor().Name()))
		body, err := rules.Body(c.obj)
		if err != nil {
			t.Fatal(err)
		}
		if got := rules.Level(kind, body); got != c.want {
			t.Errorf("%s: level %d, want %d", name, got, c.want)
		}
	}
}

func TestWhatALaterVersionWroteRaisesNoLevel(t *testing.T) {
	later := protowire.AppendString(protowire.AppendTag(nil, 4000, protowire.BytesType), "from later")
	for name, c := range map[string]struct {
		kind string
		body []byte
		want int32
	}{
		"a field of the object":          {"apikey", later, 1},
		"a field of its spec":            {"apikey", within(3, later), 1},
		"beside one that has a level":    {"apikey", within(3, append(slices.Clone(later), within(10, []byte("core"))...)), 2},
		"a kind":                         {"unheard", later, 1},
		"bytes that are no message":      {"server", make([]byte, 100), 1},
		"a message that breaks off":      {"server", []byte{0x1a, 0x7f}, 1},
		"broken after one with a level":  {"server", within(3, append(within(7, []byte("internal")), 0xff)), 2},
		"a field with a level, mistyped": {"server", within(3, protowire.AppendVarint(protowire.AppendTag(nil, 7, protowire.VarintType), 0)), 2},
		"nothing":                        {"server", nil, 1},
	} {
		if got := rules.Level(c.kind, c.body); got != c.want {
			t.Errorf("%s: level %d, want %d", name, got, c.want)
		}
	}
}

func FuzzLevelIsOneThatThereIs(f *testing.F) {
	f.Add("server", within(3, within(7, []byte("internal"))))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		if l := rules.Level(kind, body); l < 1 || l > rules.MostLevel {
			t.Errorf("level %d", l)
		}
	})
}

// BenchmarkLevel looks at the 100,000 keys of a large fleet.
func BenchmarkLevel(b *testing.B) {
	keys := make([][]byte, 100_000)
	for i := range keys {
		body, err := rules.Body(&configv1.ApiKey{Name: fmt.Sprintf("k%d", i), Labels: map[string]string{"team": "search"}, Spec: &configv1.ApiKeySpec{
			Sha256: strings.Repeat("a", 64), User: "somebody@example.com", Servers: []string{"github", "jira", "search"}, Expires: "2027-01-01T00:00:00Z"}})
		if err != nil {
			b.Fatal(err)
		}
		keys[i] = body
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, body := range keys {
			rules.Level("apikey", body)
		}
	}
}

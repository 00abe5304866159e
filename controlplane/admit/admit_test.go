package admit_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/admit/links"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

// stored is a set for tests: keys that exist, who holds what, and who refers to what.
type stored struct {
	keys    []confset.Key
	holders map[links.Claim]string
	refs    map[confset.Key][]confset.Key
	heads   map[confset.Key]store.Head
}

func (s stored) Has(key confset.Key) bool               { return slices.Contains(s.keys, key) }
func (s stored) Holder(c links.Claim) (string, bool)    { name, ok := s.holders[c]; return name, ok }
func (s stored) Referrers(to confset.Key) []confset.Key { return slices.Clone(s.refs[to]) }
func (s stored) Get(kind, name string) (store.Head, bool) {
	h, ok := s.heads[confset.Key{Kind: kind, Name: name}]
	return h, ok
}

func hash(key string) links.Claim {
	sum := sha256.Sum256([]byte(key))
	return links.Claim{Space: links.Hash, Value: string(sum[:])}
}

func gate(t *testing.T, cfg admit.Config) *admit.Gate {
	t.Helper()
	if cfg.Set == nil {
		cfg.Set = stored{}
	}
	g, err := admit.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func put(t *testing.T, kind, name, path string, m proto.Message) admit.Put {
	t.Helper()
	body, err := rules.Body(m)
	if err != nil {
		t.Fatal(err)
	}
	return admit.Put{Object: confset.NewObject(confset.Key{Kind: kind, Name: name}, "uid", body), Message: m, Path: path}
}

func server(t *testing.T, name, path, url string) admit.Put {
	return put(t, "server", name, path, &configv1.Server{Name: name, Spec: &configv1.ServerSpec{Endpoints: []*configv1.Endpoint{{Url: url}}}})
}

func apiKey(t *testing.T, name, path, secret string) admit.Put {
	sum := sha256.Sum256([]byte(secret))
	return put(t, "apikey", name, path, &configv1.ApiKey{Name: name, Spec: &configv1.ApiKeySpec{Sha256: hex.EncodeToString(sum[:]), Servers: []string{"not_there_yet"}}})
}

func gone(kind, name, path string) admit.Delete {
	return admit.Delete{Current: store.Head{Object: confset.Object{Key: confset.Key{Kind: kind, Name: name}}}, Path: path}
}

const good = "http://127.0.0.1:3001/mcp"

// want compares violations with "kind/name path: problem" lines, where a problem may be cut.
func want(t *testing.T, err error, lines ...string) {
	t.Helper()
	var vs admit.Violations
	if err != nil && !errors.As(err, &vs) {
		t.Fatalf("not violations: %v", err)
	}
	if len(vs) != len(lines) {
		t.Fatalf("%d violations, want %d:\n%v", len(vs), len(lines), err)
	}
	for i, v := range vs {
		if got := fmt.Sprintf("%s %s: %s", v.Key, v.FieldPath(), v.Description()); !strings.HasPrefix(got, lines[i]) {
			t.Errorf("violation %d:\n%s\nwant\n%s", i, got, lines[i])
		}
	}
}

func TestAGoodChangePasses(t *testing.T) {
	g := gate(t, admit.Config{Limits: store.Limits{Objects: 3, Bytes: 1000}, Compile: func(confset.Object) []admit.Problem { return nil }})
	want(t, g.Check(admit.Change{
		Puts:    []admit.Put{server(t, "a", "", good), apiKey(t, "k", "", "one")},
		Deletes: []admit.Delete{gone("server", "b", "")},
	}))
}

func TestEveryViolationOfEveryObjectIsNamed(t *testing.T) {
	g := gate(t, admit.Config{Compile: func(o confset.Object) []admit.Problem {
		if o.Key.Name == "c" {
			return []admit.Problem{{Field: "spec.tls.ca_pem", Text: "holds no certificate"}, {Text: "won't do"}}
		}
		return nil
	}})
	want(t, g.Check(admit.Change{Puts: []admit.Put{
		server(t, "a", "objects[0].server", "ftp://x"), server(t, "b", "objects[1].server", good), server(t, "c", "objects[2].server", good),
		put(t, "settings", "other", "objects[3].settings", &configv1.Settings{Name: "other"}),
	}}),
		"server/a objects[0].server.spec.endpoints[0].url: ",
		"server/c objects[2].server.spec.tls.ca_pem: holds no certificate",
		"server/c objects[2].server: won't do",
		"settings/other objects[3].settings.name: ")
}

func TestWhatBreaksTheRulesIsNotCompiled(t *testing.T) {
	g := gate(t, admit.Config{Compile: func(o confset.Object) []admit.Problem {
		t.Errorf("%s was compiled", o.Key)
		return nil
	}})
	want(t, g.Check(admit.Change{Puts: []admit.Put{server(t, "a", "", "ftp://x")}}), "server/a spec.endpoints[0].url: ")
}

func TestLimitsAreNamedBeforeAnythingElse(t *testing.T) {
	g := gate(t, admit.Config{Limits: store.Limits{Objects: 1, Bytes: 20, Flag: "--max-txn-ops"}})
	want(t, g.Check(admit.Change{Puts: []admit.Put{server(t, "a", "objects[0].server", "ftp://x"), server(t, "b", "objects[1].server", good)}}),
		"/ : 2 objects in a change, at most 1 are possible (raise --max-txn-ops and the store's own limit); split the change",
		"server/b objects[1].server: 34 bytes in an object, at most 20 are possible; make it smaller")
}

func TestAnObjectIsInAChangeOnce(t *testing.T) {
	want(t, gate(t, admit.Config{}).Check(admit.Change{
		Puts:    []admit.Put{server(t, "a", "objects[0].server", good), server(t, "a", "objects[1].server", good)},
		Deletes: []admit.Delete{gone("server", "a", "deletions[0]"), gone("apikey", "a", "deletions[1]")},
	}),
		"server/a objects[1].server: is already in this change at objects[0].server; name each object once",
		"server/a deletions[0]: is already in this change at objects[0].server; name each object once")
}

func TestKindsOfOneNamespaceDontShareNames(t *testing.T) {
	g := gate(t, admit.Config{
		Namespaces: [][]string{{"server", "apikey"}},
		Set:        stored{keys: []confset.Key{{Kind: "server", Name: "a"}, {Kind: "server", Name: "leaving"}, {Kind: "apikey", Name: "mine"}}},
	})
	want(t, g.Check(admit.Change{
		Puts:    []admit.Put{apiKey(t, "a", "", "one"), apiKey(t, "leaving", "", "two"), apiKey(t, "mine", "", "three"), server(t, "fresh", "", good), apiKey(t, "fresh", "", "four")},
		Deletes: []admit.Delete{gone("server", "leaving", "")},
	}),
		"apikey/a name: is taken by the server of that name; choose another name",
		"apikey/fresh name: is taken by the server of that name; choose another name")
}

func TestAKeyHashHasOneHolder(t *testing.T) {
	g := gate(t, admit.Config{Set: stored{holders: map[links.Claim]string{hash("one"): "a", hash("two"): "b"}}})
	want(t, g.Check(admit.Change{Puts: []admit.Put{apiKey(t, "a", "", "one")}}))
	want(t, g.Check(admit.Change{Puts: []admit.Put{apiKey(t, "c", "", "one")}}),
		`apikey/c spec.sha256: is the hash of the API key "a" already; make a new key`)
	// The hash moves on because its holder gets another one, or goes.
	want(t, g.Check(admit.Change{Puts: []admit.Put{apiKey(t, "a", "", "two"), apiKey(t, "b", "", "one")}}))
	want(t, g.Check(admit.Change{Puts: []admit.Put{apiKey(t, "c", "", "one")}, Deletes: []admit.Delete{gone("apikey", "a", "")}}))
}

func TestOnlyTheOwningFileWrites(t *testing.T) {
	g := gate(t, admit.Config{})
	p, d := server(t, "a", "objects[0].server", "ftp://x"), gone("server", "b", "deletions[0]")
	p.Current = &store.Head{Owner: "fleet.yaml"}
	d.Current.Owner = "other.yaml"
	var owned *admit.OwnedError
	if err := g.Check(admit.Change{Puts: []admit.Put{p}, Deletes: []admit.Delete{d}}); !errors.As(err, &owned) || len(owned.Objects) != 2 ||
		owned.Objects[0].File != "fleet.yaml" || owned.Objects[1].Path != "deletions[0]" {
		t.Errorf("%v", err)
	}
	if err := g.Check(admit.Change{Owner: "fleet.yaml", Puts: []admit.Put{p}, Deletes: []admit.Delete{d}}); !errors.As(err, &owned) || len(owned.Objects) != 1 {
		t.Errorf("%v", err)
	}
	p.Message, p.Object = server(t, "a", "", good).Message, server(t, "a", "", good).Object
	want(t, g.Check(admit.Change{Owner: "fleet.yaml", Puts: []admit.Put{p}}))
}

func TestConfigNeedsASet(t *testing.T) {
	if _, err := admit.New(admit.Config{}); err == nil || !strings.Contains(err.Error(), "Set is required") {
		t.Errorf("%v", err)
	}
}

func TestToolsetsMayBeStoredBeforeTheirServers(t *testing.T) {
	set := func(tools ...*configv1.ToolsetTool) admit.Put {
		return put(t, "toolset", "triage", "", &configv1.Toolset{Name: "triage", Spec: &configv1.ToolsetSpec{Tools: tools}})
	}
	g := gate(t, admit.Config{Set: stored{keys: []confset.Key{{Kind: "server", Name: "taken"}}}})
	want(t, g.Check(admit.Change{Puts: []admit.Put{set(&configv1.ToolsetTool{Server: "later", Tool: "x"}, &configv1.ToolsetTool{Server: "later2", Tool: "x", Name: "y"})}}))
	want(t, g.Check(admit.Change{Puts: []admit.Put{set(&configv1.ToolsetTool{Server: "later", Tool: "x"}, &configv1.ToolsetTool{Server: "later2", Tool: "x"})}}),
		`toolset/triage spec.tools[1]: "x" is the name of spec.tools[0], too; set name in one of the two`)
	want(t, g.Check(admit.Change{Puts: []admit.Put{put(t, "toolset", "taken", "", &configv1.Toolset{Name: "taken", Spec: &configv1.ToolsetSpec{
		Tools: []*configv1.ToolsetTool{{Server: "later", Tool: "x"}}}})}}), "toolset/taken name: is taken by the server of that name")
}

package api_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hopgate/hopgate/controlplane/store/memstore"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
)

// set is the body of a change that applies servers as a whole set.
func set(name string, servers ...string) string {
	objects := make([]string, len(servers))
	for i, s := range servers {
		objects[i] = serverAt(s, 1)
	}
	return `{"set":"` + name + `","prune":true,"objects":[` + strings.Join(objects, ",") + `]}`
}

// members are the servers of a set.
func members(p *plane, name string) (out []string) {
	p.Helper()
	list, _ := at(p.must(200, "GET", "/v1/servers?page_size=1000", ""), "servers").([]any)
	for _, s := range list {
		if str(s, "meta", "set") == name {
			out = append(out, str(s, "name"))
		}
	}
	return out
}

func TestASetPrunesWhatItNamesNoMore(t *testing.T) {
	p := start(t, memstore.New())
	p.must(200, "PUT", "/v1/servers/free", demo)
	p.must(200, "PUT", "/v1/servers/a", demo)
	p.change(set("base", "a", "b", "c"))
	p.change(set("other", "x", "y"))
	if got := fmt.Sprint(members(p, "base"), members(p, "other"), members(p, "")); got != "[a b c] [x y] [free]" {
		t.Fatalf("members: %s", got)
	}
	dry := p.must(200, "POST", "/v1/changes", `{"validate_only":true,`+set("base", "a", "d")[1:])
	if got := differences(dry); !strings.HasPrefix(got, "server/d created\n") || !strings.Contains(got, "server/b deleted\n") || at(dry, "objects", 1, "pruned") != true || at(dry, "objects", 0, "pruned") != nil {
		t.Errorf("dry run: %v", dry)
	}
	id := p.change(set("base", "a", "d"))
	if got := fmt.Sprint(members(p, "base"), members(p, "other"), members(p, "")); got != "[a d] [x y] [free]" {
		t.Errorf("pruned: %s", got)
	}
	if got := p.must(200, "GET", "/v1/changes/"+id, ""); at(got, "objects", 1, "pruned") != true || str(got, "objects", 1, "action") != "deleted" {
		t.Errorf("the record: %v", got)
	}
	if got := p.must(200, "POST", "/v1/changes", set("base", "a", "d")); str(got, "id") != "" {
		t.Errorf("applied again: %v", got)
	}
	p.revert(200, id, `{}`)
	if got := fmt.Sprint(members(p, "base")); got != "[a b c]" {
		t.Errorf("reverted: %s", got)
	}
	if lines := p.log.lines(t); !strings.Contains(fmt.Sprint(lines), "server/a,server/d,server/b,server/c") {
		t.Errorf("the audit doesn't name what was pruned: %v", lines)
	}
}

func TestMembershipStaysWithoutASet(t *testing.T) {
	p := start(t, memstore.New())
	p.change(set("base", "a", "b"))
	p.change(`{"objects":[` + serverAt("a", 2) + `]}`)
	p.must(200, "PATCH", "/v1/servers/b", `{"labels":{"x":"y"}}`)
	if got := fmt.Sprint(members(p, "base")); got != "[a b]" {
		t.Errorf("members: %s", got)
	}
	p.change(`{"set":"base","objects":[` + serverAt("c", 2) + `]}`)
	if got := fmt.Sprint(members(p, "base")); got != "[a b c]" {
		t.Errorf("without prune: %s", got)
	}
	p.change(`{"set":"base","prune":true}`)
	if got := fmt.Sprint(members(p, "base")); got != "[]" {
		t.Errorf("a set that names nothing: %s", got)
	}
}

func TestWhatBelongsElsewhereIsRefused(t *testing.T) {
	p := start(t, memstore.New())
	p.change(set("base", "a", "b"))
	p.change(`{"owner":"/etc/a.yaml","objects":[` + serverAt("filed", 1) + `]}`)
	for name, c := range map[string]struct{ body, want string }{
		"another set":        {set("other", "x", "a"), `server "a" belongs to the set base; remove it there before, or apply it with that set`},
		"a deletion":         {`{"set":"other","deletions":[{"kind":"server","name":"a"}]}`, `server "a" belongs to the set base; remove it there before, or apply it with that set`},
		"a file":             {set("base", "a", "b", "filed"), `server "filed" belongs to the file /etc/a.yaml and is read-only here; change it in that file`},
		"a file takes a set": {`{"owner":"/etc/b.yaml","objects":[` + serverAt("a", 1) + `]}`, `server "a" belongs to the set base; remove it there before, or apply it with that set`},
	} {
		got := p.must(400, "POST", "/v1/changes", c.body)
		if str(got, "message") != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if want := map[bool]string{true: "FILE_OWNED", false: "SET_OWNED"}[name == "a file"]; str(got, "details", 0, "violations", 0, "type") != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := fmt.Sprint(members(p, "base"), members(p, "other")); got != "[a b] []" {
		t.Errorf("members: %s", got)
	}
	for body, want := range map[string]string{
		`{"set":"Base","objects":[` + serverAt("a", 1) + `]}`:                            "set: is not a set name; write 1 to 63 lower-case letters, digits, hyphens or underscores, a letter first",
		`{"prune":true,"objects":[` + serverAt("a", 1) + `]}`:                            "prune: is given without a set; name the set",
		`{"set":"base","prune_many":true,"objects":[` + serverAt("a", 1) + `]}`:          "prune_many: is given without prune; leave it out, or prune",
		`{"set":"base","owner":"/etc/a.yaml","objects":[` + serverAt("a", 1) + `]}`:      "set: is given with an owner; give one of them: a file is a set of its own",
		`{"set":"base","deletions":[]}`:                                                  ": nothing to change; send objects or deletions",
		`{"set":"base","prune":true,"deletions":[{"kind":"server","name":"a/b"}]}`:       "deletions[0].name: can't be stored; use letters, digits, _ and -, 253 at most",
		`{"set":"` + strings.Repeat("x", 64) + `","objects":[` + serverAt("a", 1) + `]}`: "set: is not a set name; write 1 to 63 lower-case letters, digits, hyphens or underscores, a letter first",
	} {
		if got := violations(p.must(400, "POST", "/v1/changes", body)); strings.Join(got, "|") != want {
			t.Errorf("%s:\n got %q\nwant %q", body, got, want)
		}
	}
}

func TestPrunedObjectsInUseStopTheChange(t *testing.T) {
	p := start(t, memstore.New())
	p.change(`{"set":"base","objects":[{"team":{"name":"core","spec":{"servers":["*"]}}},` + serverAt("a", 1) + `]}`)
	p.must(200, "PUT", "/v1/apikeys/ci", `{"spec":{"sha256":"`+sum("sk-ci")+`","team":"core","servers":["*"]}}`)
	if got := violations(p.must(400, "POST", "/v1/changes", set("base", "a"))); len(got) != 1 || got[0] != `set: is in use by apikey "ci"; remove these references before, or in the same change` {
		t.Errorf("%q", got)
	}
}

func TestPruningMuchIsConfirmed(t *testing.T) {
	p := start(t, memstore.New())
	names := make([]string, 60)
	for i := range names {
		names[i] = fmt.Sprintf("s%02d", i)
	}
	p.change(set("base", names...))
	p.change(set("base", names[:49]...)) // 11 are less than a fifth
	p.change(set("base", names[:39]...)) // 10 are few
	got := p.must(400, "POST", "/v1/changes", set("base", names[:28]...))
	want := `this would delete 11 of the 39 objects of the set base, among them server "s28"; if that is meant, confirm it with prune_many`
	if str(got, "message") != want || str(got, "details", 0, "reason") != "PRUNE_MANY" || str(got, "details", 0, "metadata", "pruned") != "11" {
		t.Errorf("%v", got)
	}
	c, ctx := p.dial()
	if _, err := c.CreateChange(ctx, &adminv1.CreateChangeRequest{Set: "base", Prune: true}); status.Code(err) != codes.FailedPrecondition || !strings.HasPrefix(status.Convert(err).Message(), "this would delete 39 of the 39") {
		t.Errorf("over gRPC: %v", err)
	}
	if got := len(members(p, "base")); got != 39 {
		t.Errorf("%d are left", got)
	}
	p.change(`{"prune_many":true,` + set("base", names[:28]...)[1:])
	if got := len(members(p, "base")); got != 28 {
		t.Errorf("%d are left", got)
	}
}

package names_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/proto/names"
)

var server = rapid.StringMatching(`[a-z][a-z0-9_]{0,31}`)

func TestExposedNamesAreSplitAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, tool := server.Draw(t, "server"), rapid.StringMatching(`[A-Za-z0-9_.\-]{1,90}|[A-Za-z0-9_.\-é /]{1,90}`).Draw(t, "tool")
		name := names.Expose(s, tool)
		if len(name) > names.MaxExposed || !utf8.ValidString(name) {
			t.Fatalf("%q: %d bytes", name, len(name))
		}
		gotServer, gotTool, cut, ok := names.Split(name)
		whole := len(s)+1+len(tool) <= names.MaxExposed && names.Usable(tool)
		switch {
		case !names.Usable(name):
			t.Fatalf("model APIs refuse %q", name)
		case !ok || gotServer != s:
			t.Fatalf("%q is of %q", name, gotServer)
		case whole && gotTool != tool:
			t.Fatalf("%q: tool %q, want %q", name, gotTool, tool)
		case !whole && !cut:
			t.Fatalf("%q was cut, and doesn't tell", name)
		}
	})
}

func TestLongNamesStayApart(t *testing.T) {
	long := strings.Repeat("x", 70)
	a, b := names.Expose("github", long+"a"), names.Expose("github", long+"b")
	if a == b || a != names.Expose("github", long+"a") || len(a) != 64 {
		t.Errorf("%q %q", a, b)
	}
	if got := names.Expose("github", "search_issues"); got != "github-search_issues" {
		t.Error(got)
	}
}

func TestWhatIsNoExposedName(t *testing.T) {
	for _, name := range []string{"", "search", "-search", "github-", "_"} {
		if s, tool, _, ok := names.Split(name); ok {
			t.Errorf("%q is tool %q of %q", name, tool, s)
		}
	}
}

func TestWrappedURIs(t *testing.T) {
	for uri, want := range map[string]string{
		"file:///a/b":             "file://notes~/a/b",
		"demo://resource/{id}.md": "demo://notes~resource/{id}.md",
		"ui://chart/view.html":    "ui://notes~chart/view.html",
		"https://host:8080/x?y=1": "https://notes~host:8080/x?y=1",
		"urn:isbn:1":              "urn:notes~isbn:1",
		"{scheme}://x":            "{scheme}://notes~x",
		"plain":                   "notes~plain",
		"/a:b":                    "notes~/a:b",
		"{+uri}":                  "notes~{+uri}",
		"":                        "notes~",
	} {
		if got := names.WrapURI("notes", uri); got != want {
			t.Errorf("%q became %q, want %q", uri, got, want)
		}
	}
	if _, uri, ok := names.UnwrapURI("notes~http://x/y~z"); !ok || uri != "http://x/y~z" {
		t.Errorf("an expanded template: %q", uri)
	}
	for _, uri := range []string{"", "file:///a", "file://Notes~/a", "file://a.b~/c", "~x", "demo://~x"} {
		if s, rest, ok := names.UnwrapURI(uri); ok {
			t.Errorf("%q is %q of %q", uri, rest, s)
		}
	}
}

func TestURIsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := server.Draw(t, "server")
		uri := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z{}+]{0,5}:?/{0,3}[a-z~:/{}é]{0,12}`)).Draw(t, "uri")
		gotServer, got, ok := names.UnwrapURI(names.WrapURI(s, uri))
		if !ok || gotServer != s || got != uri {
			t.Fatalf("%q of %q came back as %q of %q", uri, s, got, gotServer)
		}
	})
}

// Red when an unusable name goes out as it is, when two of them meet, and when a usable one changes.
func TestNamesThatModelAPIsRefuseAreRespelled(t *testing.T) {
	long := strings.Repeat("é", 40)
	seen := map[string]string{}
	for _, tool := range []string{"sp ace", "x/y", "x y", "ünï", "ün ", "a\nb", "a\x00", "日本", long, long + "a", "a:b", "a~b", "read{id}"} {
		name := names.Expose("alpha", tool)
		_, _, cut, ok := names.Split(name)
		if !names.Usable(name) || len(name) > names.MaxExposed || !ok || !cut || !strings.HasPrefix(name, "alpha-") || name != names.Expose("alpha", tool) {
			t.Errorf("%q: %q", tool, name)
		}
		if other, taken := seen[name]; taken {
			t.Errorf("%q is %q, and %q", name, tool, other)
		}
		seen[name] = tool
	}
	if got := names.Expose("alpha", "sp ace"); !strings.HasPrefix(got, "alpha-sp_ace_x") || len(got) != len("alpha-sp_ace_x")+8 {
		t.Error(got)
	}
	for _, tool := range []string{"search_issues", "a.b", "A-1", "_", "get_20240101", "x_xdeadbee", strings.Repeat("y", 58)} {
		name := names.Expose("alpha", tool)
		if _, rest, cut, _ := names.Split(name); name != "alpha-"+tool || rest != tool || cut {
			t.Errorf("%q became %q", tool, name)
		}
	}
}

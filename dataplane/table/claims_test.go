package table_test

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func hexOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// replaces lets a key replace another until then.
func replaces(secret, until string) func(*configv1.ApiKeySpec) {
	return func(s *configv1.ApiKeySpec) { s.PreviousSha256, s.PreviousExpires = hexOf(secret), until }
}

func certificate(name string) func(*configv1.ApiKeySpec) {
	return func(s *configv1.ApiKeySpec) { s.CertificateName = name }
}

func TestAReplacedKeyIsTheSameCallerUntilTheEarlierEnd(t *testing.T) {
	for _, c := range []struct{ expires, until, want string }{
		{"", "2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"},
		{"2029-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "2029-01-01T00:00:00Z"},
		{"2031-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"},
	} {
		tab, outs := apply(empty(), apikey(t, "k", "new", replaces("old", c.until), func(s *configv1.ApiKeySpec) { s.Expires = c.expires }))
		now, before := holder(t, tab, "new"), holder(t, tab, "old")
		if len(outs) > 0 || now.ID != before.ID || before.Expires.Format(time.RFC3339) != c.want || now.Expires.Equal(before.Expires) != (c.want == c.expires) ||
			before.Hash != sha256.Sum256([]byte("old")) || now.Grants[0] != before.Grants[0] {
			t.Errorf("%+v: %+v, %+v; %q", c, now, before, outs)
		}
		if _, keys := tab.Len(); keys != 1 {
			t.Errorf("%d keys", keys)
		}
		tab, _ = apply(tab, apikey(t, "k", "new"))
		if who(tab, "old") != "" || who(tab, "new") != "k" {
			t.Error("the overlap was taken back, and the replaced key is still accepted")
		}
	}
	_, outs := apply(empty(), apikey(t, "k", "same", replaces("same", "2030-01-01T00:00:00Z")))
	if !prefixes(outs, []string{"apikey/k rejected spec.previous_sha256: is the same"}) {
		t.Errorf("%q", outs)
	}
}

func TestACertificateAdmitsItsKeysHolder(t *testing.T) {
	tab, outs := apply(empty(), apikey(t, "k", "one", certificate("Build.Example.com")), apikey(t, "l", "two", certificate("spiffe://Example/ci")))
	for name, want := range map[string]string{"build.example.com": "k", "BUILD.example.COM": "k", "spiffe://Example/ci": "l", "spiffe://example/ci": "", "": "", "other": ""} {
		got := ""
		if p := tab.Certificate(name); p != nil {
			got = p.Name
		}
		if got != want || len(outs) > 0 {
			t.Errorf("%s admits %q; %q", name, got, outs)
		}
	}
	if tab.Certificate("build.example.com") != holder(t, tab, "one") {
		t.Error("the certificate's holder isn't the key's")
	}
	if tab, _ = remove(tab, "apikey", "k"); tab.Certificate("build.example.com") != nil {
		t.Error("the key is gone, and its certificate admits")
	}
}

func TestOfTwoKeysWithOneCertificateNameTheFirstByNameIsServed(t *testing.T) {
	tab, _ := apply(empty(), apikey(t, "b", "b", certificate("host")), apikey(t, "d", "d"))
	tab, outs := apply(tab, apikey(t, "a", "a", certificate("HOST")), apikey(t, "c", "c", replaces("b", "2030-01-01T00:00:00Z")))
	want := []string{"apikey/b rejected spec.certificate_name: is also that of API key a, which is served; give each its own name"}
	if !slices.Equal(outs, want) || tab.Certificate("host").Name != "a" || who(tab, "b") != "c" {
		t.Errorf("%q; b is the key of %q", outs, who(tab, "b"))
	}
	if _, keys := tab.Len(); keys != 3 || tab.Rejected() != 1 {
		t.Errorf("%d keys, %d rejected", keys, tab.Rejected())
	}
	tab, outs = remove(tab, "apikey", "a")
	want = []string{"apikey/b warned spec.certificate_name: is no longer that of another API key; served again",
		"apikey/c rejected spec.previous_sha256: is also that of API key b, which is served; give each its own key"}
	if !slices.Equal(outs, want) || tab.Certificate("host").Name != "b" || who(tab, "b") != "b" || who(tab, "c") != "" {
		t.Errorf("%q", outs)
	}
}

func TestAKeyCannotReplaceTheKeyOfThisProcess(t *testing.T) {
	tab := table.New(table.Config{Static: []*table.Principal{{ID: "master", Name: "master", Hash: sha256.Sum256([]byte("master"))}}})
	tab, outs := apply(tab, apikey(t, "k", "k", replaces("master", "2030-01-01T00:00:00Z")))
	if who(tab, "master") != "master" || who(tab, "k") != "" || !prefixes(outs, []string{"apikey/k rejected spec.previous_sha256: is also that of the key of this process (master)"}) {
		t.Errorf("%q", outs)
	}
}

// served says, in the plainest words, which of some keys are served: in the order of names, each that wants nothing a served one has.
func served(specs map[string]*configv1.ApiKeySpec) map[string]string {
	taken := map[string]string{}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range specs {
			if !yield(n) {
				return
			}
		}
	}) {
		s := specs[name]
		var wants []string
		for _, w := range []string{s.Sha256, s.PreviousSha256, s.CertificateName} {
			if w != "" {
				wants = append(wants, w)
			}
		}
		if slices.ContainsFunc(wants, func(w string) bool { return taken[w] != "" }) {
			continue
		}
		for _, w := range wants {
			taken[w] = name
		}
	}
	return taken
}

// However a set of keys was reached, the same callers are served and the same objects rejected, and it is those that should be.
func TestTheWayToASetDoesNotMatter(t *testing.T) {
	secrets, names := []string{"x", "y", "z"}, []string{"m", "n"}
	rapid.Check(t, func(rt *rapid.T) {
		tab, set := empty(), confset.Empty()
		specs := map[string]*configv1.ApiKeySpec{}
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			var d confset.Delta
			for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 4, rapid.ID).Draw(rt, "names") {
				delete(specs, name)
				if rapid.IntRange(0, 2).Draw(rt, "remove") == 0 {
					d.Removals = append(d.Removals, confset.Key{Kind: "apikey", Name: name})
					continue
				}
				d.Upserts = append(d.Upserts, apikey(t, name, rapid.SampledFrom(secrets).Draw(rt, "secret"), func(s *configv1.ApiKeySpec) {
					if old := hexOf(rapid.SampledFrom(secrets).Draw(rt, "previous")); old != s.Sha256 && rapid.Bool().Draw(rt, "replaces") {
						s.PreviousSha256, s.PreviousExpires = old, "2030-01-01T00:00:00Z"
					}
					s.CertificateName = rapid.SampledFrom([]string{"", "", "m", "n"}).Draw(rt, "certificate")
					s.Expires = rapid.SampledFrom([]string{"", "", "", "bad"}).Draw(rt, "expires")
					s.Roles = rapid.SampledFrom([][]string{nil, nil, {"king"}}).Draw(rt, "roles")
					if s.Expires == "" {
						specs[name] = s
					}
				}))
			}
			tab, _ = tab.Apply(d, 1, table.Version{})
			set = set.Apply(d)
		}
		direct, _ := empty().Apply(confset.Delta{Upserts: slices.Collect(set.All())}, 1, table.Version{})
		want, admitted := served(specs), map[string]bool{}
		for _, tab := range []*table.Table{tab, direct} {
			for _, s := range secrets {
				if got := who(tab, s); got != want[hexOf(s)] {
					rt.Errorf("%s is the key of %q, want %q", s, got, want[hexOf(s)])
				}
			}
			for _, n := range names {
				got := ""
				if p := tab.Certificate(n); p != nil {
					got = p.Name
				}
				if got != want[n] {
					rt.Errorf("certificate %s admits %q, want %q", n, got, want[n])
				}
			}
			for _, name := range want {
				admitted[name] = true
			}
			if _, keys := tab.Len(); keys != len(admitted) {
				rt.Errorf("%d keys are served, want %d", keys, len(admitted))
			}
		}
		if got, want := lines(tab.Outcomes()), lines(direct.Outcomes()); !slices.Equal(got, want) || tab.Rejected() != direct.Rejected() {
			rt.Errorf("outcomes %q, %d rejected; at once %q, %d", strings.Join(got, "\n"), tab.Rejected(), want, direct.Rejected())
		}
	})
}

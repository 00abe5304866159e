package launch

import "testing"

func TestOnlyAddressesThatMeanTheSameElsewhereAreAdvertised(t *testing.T) {
	for _, c := range []struct {
		given, listen string
		secure        bool
		want          string
	}{
		{"", "10.0.0.5:4000", false, "http://10.0.0.5:4000"},
		{"", "[2001:db8::1]:4000", false, "http://[2001:db8::1]:4000"},
		{"", "127.0.0.1:4000", false, ""},
		{"", "127.3.2.1:4000", false, ""},
		{"", "[::1]:4000", false, ""},
		{"", "[::ffff:127.0.0.1]:4000", false, ""},
		{"", "[fe80::1%eth0]:4000", false, ""},
		{"", "0.0.0.0:4000", false, ""},
		{"", ":4000", false, ""},
		{"", "localhost:4000", false, ""},
		{"", "10.0.0.5:0", false, ""},
		{"", "10.0.0.5:4000", true, ""},
		{"http://127.0.0.1:4000", "127.0.0.1:4000", false, "http://127.0.0.1:4000"},
		{"https://a.example.com:4000", ":4000", true, "https://a.example.com:4000"},
	} {
		if got := advertised(c.given, c.listen, c.secure); got != c.want {
			t.Errorf("%q of %q (%v): %q, want %q", c.given, c.listen, c.secure, got, c.want)
		}
	}
}

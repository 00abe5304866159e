package origin_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/origin"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/netrange"
)

const home = "https://mcp.example.com"

var callbacks = &table.Ingress{
	RedirectOrigins: []string{"vscode.dev", "app.example.com:8443", "*.trusted.example", "[2001:db8::1]"},
	NativeURIs:      []string{"myclient://auth/callback", "com.example.app:/oauth", "tool://host/cb/*", "odd://*", "javascript:alert(1)"},
}

func TestWhereClientsMayBeSentBackTo(t *testing.T) {
	for uri, ok := range map[string]bool{
		// The gateway's own origin.
		"https://mcp.example.com/ui/mcp/oauth/callback": true,
		"https://MCP.example.com:443/x?state=1":         true,
		"https://mcp.example.com":                       true,
		"https://mcp.example.com?x":                     true,
		"http://mcp.example.com/x":                      false,
		"https://mcp.example.com:8443/x":                false,
		"https://mcp.example.com.evil.example/x":        false,
		"https://mcp.example.com./x":                    false,
		"https://evil.example/mcp.example.com":          false,
		"https://evil.example?mcp.example.com":          false,

		// This machine, any port.
		"http://localhost/callback":       true,
		"http://LOCALHOST:33418/callback": true,
		"https://localhost:1/callback":    true,
		"http://127.0.0.1:33418/callback": true,
		"http://127.8.8.8/":               true,
		"http://[::1]:33418/callback":     true,
		"http://[::1]":                    true,
		"http://localhost:0/":             false,
		"http://localhost:99999/":         false,
		"http://localhost:/":              false,
		"http://localhost.evil.example/":  false,
		"http://evil.localhost/":          false,
		"http://127.0.0.1.evil.example/":  false,
		"http://127.1/":                   false,
		"http://2130706433/":              false,
		"http://0x7f000001/":              false,
		"http://0177.0.0.1/":              false,
		"http://0.0.0.0/":                 false,
		"http://[::]/":                    false,
		"http://[::1%25lo]/":              false,
		"http://[::1/":                    false,
		"http://10.0.0.1/":                false,

		// Trusted sites.
		"https://vscode.dev/redirect":       true,
		"https://vscode.dev:443/redirect":   true,
		"https://VSCODE.dev/redirect?a=b":   true,
		"https://vscode.dev:444/redirect":   false,
		"http://vscode.dev/redirect":        false,
		"https://x.vscode.dev/redirect":     false,
		"https://app.example.com:8443/cb":   true,
		"https://app.example.com/cb":        false,
		"https://a.trusted.example/cb":      true,
		"https://a.b.trusted.example:9/cb":  true,
		"https://trusted.example/cb":        false,
		"https://eviltrusted.example/cb":    false,
		"https://a.trusted.example.evil/cb": false,
		"https://.trusted.example/cb":       false,
		"http://a.trusted.example/cb":       false,
		"https://[2001:DB8:0::1]/cb":        true,

		// Native ones.
		"cursor://anysphere.cursor-mcp/oauth/callback":  true,
		"cursor://anysphere.cursor-mcp/oauth/callback/": false,
		"cursor://evil/oauth/callback":                  false,
		"myclient://auth/callback":                      true,
		"MYCLIENT://auth/callback":                      false,
		"myclient://auth/callback2":                     false,
		"myclient://auth/callback?x=1":                  false,
		"myclient://auth/callback?":                     false,
		"myclient://auth/callback#x":                    false,
		"com.example.app:/oauth":                        true,
		"com.example.app:/oauth2":                       false,
		"tool://host/cb/one":                            true,
		"tool://host/cb/one/two":                        true,
		"tool://host/cb/":                               false,
		"tool://host/cb":                                false,
		"tool://host/cbevil":                            false,
		"tool://host/cb/../evil":                        false,
		"tool://host/cb/./x":                            false,
		"tool://host/cb//x":                             false,
		"tool://host/cb/%2e%2e/evil":                    false,
		"tool://host@evil/cb/one":                       false,
		"odd://anything/at/all":                         false,
		"javascript:alert(1)":                           false,
		"data:text/html,x":                              false,
		"file:///etc/passwd":                            false,

		// What can be read in two ways.
		"":                           false,
		"callback":                   false,
		"/callback":                  false,
		"//mcp.example.com/x":        false,
		"https:mcp.example.com/x":    false,
		"https:/mcp.example.com/x":   false,
		"https:///mcp.example.com/x": false,
		"https://":                   false,
		"https://mcp.example.com\\@evil.example/":              false,
		"https://evil.example\\@mcp.example.com/":              false,
		"https:\\\\mcp.example.com/":                           false,
		"https://mcp.example.com@evil.example/":                false,
		"https://evil.example@mcp.example.com/":                false,
		"https://a:b@mcp.example.com/":                         false,
		"https://@mcp.example.com/":                            false,
		"https://mcp.example.com/#x":                           false,
		"https://mcp.example.com/#":                            false,
		"https://mcp.example.com/\r\nSet-Cookie: x":            false,
		"https://mcp.example.com/\x00":                         false,
		" https://mcp.example.com/":                            false,
		"https://mcp.example.com/ x":                           false,
		"https://mcp.example.com\t/":                           false,
		"https://mcp%2eexample%2ecom/":                         false,
		"https://mcp.example.com%2f@evil.example/":             false,
		"https://mcp.example.com%00.evil.example/":             false,
		"https://m\u0441p.example.com/":                        false,
		"https://mcp\u3002example.com/":                        false,
		"https://mcp.example.com,evil.example/":                false,
		"https://mcp.example.com;evil.example/":                false,
		"https://mcp.example.com:443:80/":                      false,
		"https://mcp.example.com:0443/":                        false,
		"https://mcp.example.com/%zz":                          false,
		"https://mcp.example.com/" + strings.Repeat("a", 3000): false,
	} {
		l := origin.Listener{}
		err := l.Redirect(uri, home, callbacks)
		if (err == nil) != ok {
			t.Errorf("%q: %v", uri, err)
		}
		if re := new(origin.RedirectError); err != nil && (!errors.As(err, &re) || re.Description == "" || re.Hint == "") {
			t.Errorf("%q: %#v", uri, err)
		}
	}
}

func TestWhoseListsCount(t *testing.T) {
	l := origin.Listener{RedirectOrigins: []string{"process.example"}, NativeURIs: []string{"process://cb"}}
	for _, c := range []struct {
		name string
		ing  *table.Ingress
		uri  string
		ok   bool
	}{
		{"the process's, where no ingress is", none, "https://process.example/cb", true},
		{"the process's native ones", none, "process://cb", true},
		{"the ingress's instead", callbacks, "https://process.example/cb", false},
		{"the ingress's native ones instead", callbacks, "process://cb", false},
		{"none, while the ingress is rejected", closed, "https://process.example/cb", false},
		{"no native ones, while the ingress is rejected", closed, "process://cb", false},
		{"this machine, always", closed, "http://127.0.0.1:9/cb", true},
	} {
		if err := l.Redirect(c.uri, home, c.ing); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := l.Redirect("https://mcp.example.com/cb", "", none); err == nil {
		t.Error("an unknown origin of ours isn't the same as any")
	}
}

func TestARefusalTellsTheClientNothingAboutTheInside(t *testing.T) {
	l := origin.Listener{}
	err := l.Redirect("https://llm.example.com/ui/mcp/oauth/callback", "http://10.2.3.4:4000", callbacks)
	re := new(origin.RedirectError)
	if !errors.As(err, &re) {
		t.Fatal(err)
	}
	var body map[string]string
	if err := json.Unmarshal(re.Body(), &body); err != nil {
		t.Fatal(err)
	}
	if body["error"] != "invalid_request" || body["detail"] != "invalid_request" || body["redirect_uri"] != "https://llm.example.com/ui/mcp/oauth/callback" ||
		body["error_description"] == "" || !strings.Contains(body["hint"], "PROXY_BASE_URL") || len(body) != 5 {
		t.Errorf("got %v", body)
	}
	if strings.Contains(string(re.Body()), "10.2.3.4") || strings.Contains(re.Error(), "10.2.3.4") {
		t.Errorf("the body tells the inner address: %s", re.Body())
	}
	line := re.Line("the listener's own scheme and the Host header")
	if !strings.HasPrefix(line, `MCP OAuth: rejecting redirect_uri "https://llm.example.com/ui/mcp/oauth/callback" as invalid_request. Computed proxy base="http://10.2.3.4:4000" (the listener's`) {
		t.Errorf("got %s", line)
	}
}

func TestARefusalShowsNoSecret(t *testing.T) {
	l := origin.Listener{}
	for _, uri := range []string{"https://user:hunter2hunter2@evil.example/cb", "https://evil.example/cb?token=hunter2hunter2", "https://evil.example/cb#hunter2hunter2",
		"x://a/b\n?hunter2hunter2"} {
		re := new(origin.RedirectError)
		if !errors.As(l.Redirect(uri, home, callbacks), &re) {
			t.Fatal(uri)
		}
		if s := string(re.Body()) + re.Line("x") + re.Error(); strings.Contains(s, "hunter2") || strings.Contains(s, "\n") {
			t.Errorf("%q: %s", uri, s)
		}
	}
}

// FuzzRedirect: what is accepted is read in the same way by net/url, and is of the origin, the machine or the site that it was accepted for.
func FuzzRedirect(f *testing.F) {
	for _, s := range []string{"https://mcp.example.com/cb", "http://127.0.0.1:1/", "https://a.trusted.example", "cursor://anysphere.cursor-mcp/oauth/callback",
		"https://mcp.example.com@evil.example/", `https://evil.example\@mcp.example.com`, "tool://host/cb/x", "https://mcp.example.com:443?x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		l := origin.Listener{}
		if l.Redirect(uri, home, callbacks) != nil {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.User != nil || u.Fragment != "" || strings.ContainsAny(uri, "\\#\r\n\t ") {
			t.Fatalf("%q: %v, %v", uri, u, err)
		}
		if u.Scheme != "http" && u.Scheme != "https" {
			if !strings.HasPrefix(uri, "tool://host/cb/") && uri != "cursor://anysphere.cursor-mcp/oauth/callback" && uri != "myclient://auth/callback" && uri != "com.example.app:/oauth" {
				t.Errorf("%q is not listed", uri)
			}
			return
		}
		rest := uri[len(u.Scheme)+len("://"):]
		if rest = strings.TrimPrefix(rest, u.Host); rest != "" && rest[0] != '/' && rest[0] != '?' {
			t.Errorf("%q: the host ends at %q", uri, rest)
		}
		name, p := strings.ToLower(u.Hostname()), u.Port()
		site := u.Scheme == "https" && (p == "" || p == "443") && (name == "mcp.example.com" || name == "vscode.dev" || strings.HasPrefix(u.Host, "["))
		site = site || u.Scheme == "https" && (name == "app.example.com" && p == "8443" || strings.HasSuffix(name, ".trusted.example"))
		if !site && !netrange.Loopback(u.Host) {
			t.Errorf("%q is nobody's", uri)
		}
	})
}

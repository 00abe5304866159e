//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Every way to ask for the origin gives one answer.

func TestIngressIsExplainedTheSameByHeaderPlaneAndCommand(t *testing.T) {
	s := startSite(t)
	c := s.caller(t)
	s.explained(t, c, "no Ingress", innerOrigin, "unknown", "external")
	c.changes(t, "trusted ranges", ingress(s.trusting()...), siteOrigin)
	s.explained(t, c, "trusted ranges", siteOrigin, c.addr, "internal")
	c.changes(t, "the switch without ranges", ingress("use_forwarded_headers: true"), innerOrigin)
	s.explained(t, c, "the switch without ranges", innerOrigin, "unknown", "external")
	c.changes(t, "both fixes", ingress(append(s.trusting(), "public_origins: ["+siteOrigin+"]", "internal_ranges: [10.0.0.0/8]")...), siteOrigin)
	s.explained(t, c, "both fixes", siteOrigin, c.addr, "external")
}

// explained wants the header, the data planes and both forms of hopgate explain origin to say the same.
func (s *site) explained(t *testing.T, c *caller, what string, want ...string) {
	t.Helper()
	err := c.everywhere(func() (string, error) {
		a, plane, err := c.ask(siteOrigin+"/demo/mcp", s.key, listTools, "X-Litellm-Mcp-Debug", "true")
		if m := debugOrigin.FindStringSubmatch(a.Header.Get("X-Mcp-Debug-Origin")); err == nil && (len(m) == 0 || !slices.Equal(m[1:], want)) {
			err = fmt.Errorf("x-mcp-debug-origin %q, want %v", a.Header.Get("X-Mcp-Debug-Origin"), want)
		}
		return plane, err
	}, func() (string, error) {
		a, plane, err := c.ask(siteOrigin+"/demo/mcp", s.plain, listTools, "X-Litellm-Mcp-Debug", "true")
		if _, there := a.Header["X-Mcp-Debug-Origin"]; err == nil && (there || a.Header.Get("X-Mcp-Debug-Hops") == "") {
			err = fmt.Errorf("headers for a key without the role debug: %v", a.Header)
		}
		return plane, err
	})
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	s.explainedByCommand(t, what, want)
}

// explainedByCommand asks a data plane by hopgate explain origin --url, and then what it would make of what nginx must have sent it.
func (s *site) explainedByCommand(t *testing.T, what string, want []string) {
	t.Helper()
	const self = "127.0.0.1" // from where the command calls
	var asked whereabouts
	res := s.control.command(t, "", nil, "explain", "origin", "--url", "https://"+s.addr, "--ca", s.cert, "--api-key", s.key)
	if err := json.Unmarshal([]byte(res.Out), &asked); err != nil || res.Code != 0 {
		t.Fatalf("%s: %v %v", what, err, res)
	}
	made := []string{"explain", "origin", "--peer", s.inner, "--host", "localhost", "--region", "eu", "--header", "X-Forwarded-For: " + self,
		"--header", "X-Forwarded-Proto: https", "--header", "X-Forwarded-Host: " + s.addr, "--header", "X-Forwarded-Port: 443"}
	var computed struct{ Explanation map[string]any }
	res = s.control.command(t, "", nil, append(made, "-o", "json")...)
	if err := json.Unmarshal([]byte(res.Out), &computed); err != nil || res.Code != 0 {
		t.Fatalf("%s: %v %v", what, err, res)
	}
	if !reflect.DeepEqual(asked.Explanation, computed.Explanation) {
		t.Errorf("%s: a data plane says\n%v\nthe command\n%v", what, asked.Explanation, computed.Explanation)
	}
	origin, client := want[0], want[1]
	if client != "unknown" {
		client = self
	}
	if origin == siteOrigin && asked.Explanation["origin_by"] != "the public_origins of the ingress" {
		origin = "https://" + s.addr // by which the command calls
	}
	e := asked.Explanation
	if e["origin"] != any(origin) || e["client"] != any(client) || e["internal"] != any(want[2] == "internal") || asked.Origin != origin {
		t.Errorf("%s: want %s %s %s, got %+v", what, origin, client, want[2], asked)
	}
	text := s.control.command(t, "", nil, made...).Out
	for _, line := range []string{"origin   " + origin + ": ", "client   " + client + ": "} {
		if !strings.Contains(text, line) {
			t.Errorf("%s: no %q in\n%s", what, line, text)
		}
	}
	t.Logf("%s:\n%s", what, text)
}

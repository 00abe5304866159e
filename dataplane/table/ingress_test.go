package table_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/table"
	configv1 "github.com/hopgate/hopgate/proto/gen/hopgate/config/v1"
)

func TestIngress(t *testing.T) {
	tab, outs := apply(empty(), ingress(t, "edge", &configv1.IngressSpec{TrustedProxies: []string{"10.0.0.0/8", "2001:db8::1"}, UseForwardedHeaders: true,
		PublicOrigins: []string{"https://MCP.example.com:443"}, CorsOrigins: []string{"http://localhost:3000"}, InternalRanges: []string{"192.0.2.0/24"},
		TrustedRedirectOrigins: []string{"*.Example.com"}, TrustedNativeRedirectUris: []string{"cursor://host/path"}}))
	i := tab.Ingress()
	if len(outs) > 0 || i.Name != "edge" || i.Closed || !i.Forwarded || !i.For || !i.Proto || !i.Host || !i.Port || i.RFC {
		t.Errorf("%+v, %q", i, outs)
	}
	if !slices.Equal(i.Public, []string{"https://mcp.example.com"}) || !slices.Equal(i.CORS, []string{"http://localhost:3000"}) ||
		!slices.Equal(i.RedirectOrigins, []string{"*.example.com"}) || !slices.Equal(i.NativeURIs, []string{"cursor://host/path"}) {
		t.Errorf("%+v", i)
	}
	if !i.Proxies.Contains(netip.MustParseAddr("10.9.9.9")) || !i.Internal.Contains(netip.MustParseAddr("192.0.2.9")) || i.Internal.Contains(netip.MustParseAddr("10.9.9.9")) {
		t.Error("the ranges are wrong")
	}
	tab, outs = apply(tab, ingress(t, "edge", &configv1.IngressSpec{TrustedProxies: []string{"::1"}, UseForwardedHeaders: true, ForwardedHeaders: []string{"forwarded", "x-forwarded-for"}}))
	if i := tab.Ingress(); len(outs) > 0 || !i.RFC || !i.For || i.Proto || i.Host || i.Port || !i.Internal.Contains(netip.MustParseAddr("172.20.0.1")) {
		t.Errorf("%+v, %q", i, outs)
	}
}

func TestForwardedHeadersWithoutProxiesAreAWarning(t *testing.T) {
	tab, outs := apply(empty(), ingress(t, "edge", &configv1.IngressSpec{UseForwardedHeaders: true}))
	want := "ingress/edge warned spec.use_forwarded_headers: headers are ignored until trusted_proxies names your proxies"
	if i := tab.Ingress(); !slices.Equal(outs, []string{want}) || !i.Forwarded || !i.Proxies.Empty() || i.Closed {
		t.Errorf("%+v, %q", i, outs)
	}
}

func TestWithoutAnIngressNoProxyIsTrusted(t *testing.T) {
	for _, tab := range []*table.Table{empty(), new(table.Holder).Load()} {
		if i := tab.Ingress(); i == nil || i.Name != "" || i.Forwarded || !i.Proxies.Empty() || len(i.Public) > 0 || i.Closed {
			t.Errorf("%+v", i)
		}
	}
}

func TestWhichIngressARegionHas(t *testing.T) {
	var (
		every = &configv1.IngressSpec{}
		eu    = &configv1.IngressSpec{Regions: []string{"us", "eu"}}
		us    = &configv1.IngressSpec{Regions: []string{"us"}}
		badEU = &configv1.IngressSpec{Regions: []string{"eu"}, TrustedProxies: []string{"x"}}
		bad   = &configv1.IngressSpec{TrustedProxies: []string{"x"}}
	)
	type named map[string]*configv1.IngressSpec
	for _, c := range []struct {
		name   string
		objs   named
		want   string
		closed bool
		warned string // names, in order
	}{
		{"none", nil, "", false, ""},
		{"one for each region", named{"a": every}, "a", false, ""},
		{"another region's", named{"a": us}, "", false, ""},
		{"its own before one for each", named{"a": every, "b": eu}, "b", false, ""},
		{"two for each", named{"b": every, "a": every}, "a", false, "b"},
		{"two of its own", named{"c": eu, "b": eu, "a": us}, "b", false, "c"},
		{"its own is rejected", named{"a": every, "b": badEU}, "b", true, ""},
		{"the one for each is rejected", named{"a": bad}, "a", true, ""},
		{"the one for each is rejected, its own is good", named{"a": bad, "b": eu}, "b", false, ""},
		{"the second of two is rejected", named{"a": every, "b": bad}, "a", false, "b"},
	} {
		for _, order := range []string{"abc", "cba"} {
			tab := empty()
			for _, n := range strings.Split(order, "") {
				if s := c.objs[n]; s != nil {
					tab, _ = apply(tab, ingress(t, n, s))
				}
			}
			var warned []string
			for _, o := range tab.Outcomes() {
				if !o.Rejected && o.Field == "spec.regions" {
					warned = append(warned, o.Key.Name)
				}
			}
			if i := tab.Ingress(); i.Name != c.want || i.Closed != c.closed || strings.Join(warned, " ") != c.warned {
				t.Errorf("%s, in the order %s: %q, closed %v, warned %q", c.name, order, i.Name, i.Closed, warned)
			}
		}
	}
}

func TestARejectedIngressClosesItsRegionUntilItIsRepaired(t *testing.T) {
	good := ingress(t, "edge", &configv1.IngressSpec{Regions: []string{"eu"}, PublicOrigins: []string{"https://mcp.example.com"}, TrustedProxies: []string{"10.0.0.1"}})
	tab, _ := apply(empty(), good)
	broken := good
	broken.Body = []byte{0xff}
	for _, o := range []struct {
		what string
		tab  func() (*table.Table, []string)
	}{
		{"rejected", func() (*table.Table, []string) {
			return apply(tab, ingress(t, "edge", &configv1.IngressSpec{Regions: []string{"eu"}, TrustedProxies: []string{"nonsense"}}))
		}},
		{"unreadable", func() (*table.Table, []string) { return apply(tab, broken) }},
	} {
		bad, outs := o.tab()
		if i := bad.Ingress(); !i.Closed || i.Forwarded || !i.Proxies.Empty() || !i.Internal.Empty() || len(i.Public) > 0 || i.Name != "edge" {
			t.Errorf("%s: %+v, %q", o.what, i, outs)
		}
		if again, _ := apply(bad, good); again.Ingress().Closed || again.Ingress().Public == nil || again.Rejected() != 0 {
			t.Errorf("%s: %+v after it was repaired", o.what, again.Ingress())
		}
		if gone, _ := remove(bad, "ingress", "edge"); gone.Ingress().Closed || gone.Ingress().Name != "" {
			t.Errorf("%s: %+v after it was removed", o.what, gone.Ingress())
		}
	}
}

func TestAnIngressThatNoLongerCompetesIsTold(t *testing.T) {
	tab, _ := apply(empty(), ingress(t, "a", &configv1.IngressSpec{}), ingress(t, "b", &configv1.IngressSpec{}))
	kept := tab.Ingress()
	tab, _ = apply(tab, ingress(t, "c", &configv1.IngressSpec{Regions: []string{"us"}}))
	if tab.Ingress() != kept {
		t.Error("another ingress changed, and this one was made again")
	}
	tab, outs := remove(tab, "ingress", "a")
	if tab.Ingress().Name != "b" || len(tab.Outcomes()) != 0 || !prefixes(outs, []string{"ingress/b warned spec.regions: no other"}) {
		t.Errorf("%q, %q", tab.Ingress().Name, outs)
	}
}

func TestAnIngressThatCannotBeReadMayBeForAnyRegion(t *testing.T) {
	broken := ingress(t, "edge", nil)
	broken.Body = []byte{0xff}
	tab, _ := apply(empty(), ingress(t, "all", &configv1.IngressSpec{TrustedProxies: []string{"10.0.0.1"}}), broken)
	if i := tab.Ingress(); i.Name != "edge" || !i.Closed {
		t.Errorf("%+v", i)
	}
}

package netrange_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/proto/netrange"
)

func TestParseReadsRangesAndAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3/8": "10.0.0.0/8", "192.0.2.7": "192.0.2.7/32", "::1": "::1/128", "2001:db8::1/32": "2001:db8::/32",
		"0.0.0.0/0": "0.0.0.0/0", "::/0": "::/0", "::ffff:10.0.0.1": "10.0.0.1/32", "::ffff:10.1.2.3/104": "10.0.0.0/8", "::ffff:0:0/96": "0.0.0.0/0",
		"FC00::/7": "fc00::/7",
	} {
		if got, err := netrange.Parse(in); err != nil || got.String() != want {
			t.Errorf("Parse(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
	for _, bad := range []string{
		"", " ", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0/8", "010.0.0.1", "::1/129", "fe80::1%eth0", "fe80::1%eth0/64", "[::1]", "10.0.0.1:80",
		"localhost", " 10.0.0.1", "10.0.0.1 ", "10.0.0.0/8,", "::ffff:0:0/95", "/8", "10.0.0.0/", "*",
	} {
		if p, err := netrange.Parse(bad); err == nil {
			t.Errorf("%q is the range %v", bad, p)
		}
	}
}

func TestNewSetNamesTheFirstBadEntry(t *testing.T) {
	_, err := netrange.NewSet([]string{"10.0.0.0/8", "nonsense", "worse"})
	if err == nil || !strings.HasPrefix(err.Error(), "[1] is neither") || strings.Contains(err.Error(), "nonsense") {
		t.Errorf("got %v", err)
	}
}

func TestSetContains(t *testing.T) {
	s := newSet(t, "10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "fe80::/10")
	for addr, want := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "11.0.0.0": false, "9.255.255.255": false, "192.0.2.7": true, "192.0.2.8": false,
		"::ffff:10.1.1.1": true, "::ffff:11.1.1.1": false, "2001:db8::1": true, "2001:db9::1": false, "fe80::1%eth0": true, "::a00:1": false,
		"64:ff9b::a00:1": false,
	} {
		if got := s.Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
	if s.Contains(netip.Addr{}) {
		t.Error("no address at all is in the set")
	}
	if s.Empty() || !slices.Equal(s.Ranges(), []string{"10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "fe80::/10"}) {
		t.Errorf("ranges are %v", s.Ranges())
	}
}

func TestTheWholeOfOneFamilyIsNotTheOther(t *testing.T) {
	four, six := newSet(t, "0.0.0.0/0"), newSet(t, "::/0")
	if a := netip.MustParseAddr("::1"); four.Contains(a) || !six.Contains(a) {
		t.Error("::1 is in the wrong set")
	}
	if a := netip.MustParseAddr("::ffff:1.2.3.4"); !four.Contains(a) || six.Contains(a) {
		t.Error("a mapped address is in the wrong set")
	}
}

func TestTheEmptySetHoldsNothing(t *testing.T) {
	for _, s := range []netrange.Set{{}, newSet(t)} {
		if !s.Empty() || s.Contains(netip.MustParseAddr("127.0.0.1")) || s.Contains(netip.Addr{}) || len(s.Ranges()) != 0 {
			t.Errorf("%v isn't empty", s)
		}
	}
}

func TestAddrTakesAddressesWithAndWithoutPort(t *testing.T) {
	for in, want := range map[string]string{
		"1.2.3.4": "1.2.3.4", "1.2.3.4:5": "1.2.3.4", "::1": "::1", "[::1]": "::1", "[::1]:65535": "::1", "[fe80::1%eth0]:1": "fe80::1", "fe80::1%1": "fe80::1",
		"::ffff:1.2.3.4": "1.2.3.4", "[::ffff:1.2.3.4]:80": "1.2.3.4", "[::ffff:1.2.3.4%x]": "1.2.3.4", "2001:DB8::1": "2001:db8::1", "::": "::", "::1:5": "::1:5",
		"0000:0000:0000:0000:0000:ffff:255.255.255.255": "255.255.255.255",
	} {
		if got, ok := netrange.Addr(in); !ok || got.String() != want {
			t.Errorf("Addr(%q) = %v, %v, want %s", in, got, ok, want)
		}
	}
	for _, bad := range []string{
		"", ":", "1", "unknown", "_hidden", "localhost", "localhost:80", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:123456", "1.2.3.4:-1", " 1.2.3.4", "1.2.3.4 ", "1.2.3", "1.2.3.4.5",
		"01.2.3.4", "0x7f.1", "2130706433", "1.2.3.4%eth0", "1.2.3.4%:", "[1.2.3.4]:5", "[1.2.3.4]", "[::1", "::1]", "[::1]5", "[::1]:", "[::1]:x", "[]:1", "[]", "fe80::1%", "[fe80::1%]:1",
		"%eth0", "\"1.2.3.4\"", "1.2.3.4,5.6.7.8", "1:2:3", "[[::1]]", ":::1", "1.2.3.4/8", strings.Repeat("1", 1000), "/run/proxy.sock", "@",
	} {
		if got, ok := netrange.Addr(bad); ok || got.IsValid() {
			t.Errorf("Addr(%q) = %v, %v", bad, got, ok)
		}
	}
}

func TestAddrAndContainsDoNotAllocate(t *testing.T) {
	s := newSet(t, "10.0.0.0/8", "fc00::/7")
	for _, in := range []string{"1.2.3.4", "10.2.3.4:5", "[fe80::1%eth0]:1", "::ffff:1.2.3.4", "", "1.2.3.4:x"} {
		if n := testing.AllocsPerRun(100, func() {
			a, _ := netrange.Addr(in)
			s.Contains(a)
		}); n != 0 {
			t.Errorf("%q: %v allocations", in, n)
		}
	}
}

// FuzzParse: what is taken is masked, in its shortest form, and reads back as itself.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::1", "::ffff:1.2.3.4/100", "fe80::1%eth0", "1.2.3.4/032"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, err := netrange.Parse(in)
		if err != nil {
			return
		}
		if p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			t.Fatalf("%q is %v", in, p)
		}
		if again, err := netrange.Parse(p.String()); err != nil || again != p {
			t.Fatalf("%v reads back as %v, %v", p, again, err)
		}
		if s := newSet(t, in); !s.Contains(p.Addr()) {
			t.Fatalf("%v isn't in itself", p)
		}
	})
}

// FuzzAddr: what is taken has neither zone nor IPv6 form of IPv4, and the net package agrees where it splits off a port.
func FuzzAddr(f *testing.F) {
	for _, s := range []string{"1.2.3.4:5", "[::1]:5", "::1", "[fe80::1%eth0]:1", "[::ffff:1.2.3.4]:1", "[::1", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		a, ok := netrange.Addr(in)
		if ok != a.IsValid() || a.Zone() != "" || a.Is4In6() {
			t.Fatalf("%q is %v, %v", in, a, ok)
		}
		host, _, err := net.SplitHostPort(in)
		if !ok || err != nil {
			return
		}
		if b, err := netip.ParseAddr(host); err != nil || b.Unmap().WithZone("") != a {
			t.Fatalf("%q is %v, the net package says %v, %v", in, a, b, err)
		}
	})
}

func BenchmarkContains(b *testing.B) {
	s := newSet(b, "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1", "fc00::/7")
	a := netip.MustParseAddr("203.0.113.9")
	b.ReportAllocs()
	for b.Loop() {
		s.Contains(a)
	}
}

func BenchmarkAddr(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		netrange.Addr("203.0.113.9:50123")
	}
}

func newSet(t testing.TB, list ...string) netrange.Set {
	t.Helper()
	s, err := netrange.NewSet(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

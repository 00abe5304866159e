package netrange_test

import (
	"testing"

	"github.com/hopgate/hopgate/proto/netrange"
)

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost:4000": true, "127.0.0.1": true, "127.9.8.7:1": true, "[::1]": true, "[::1]:4000": true, "[::ffff:127.0.0.1]:1": true,
		"": false, ":4000": false, "0.0.0.0:4000": false, "10.0.0.1": false, "localhost.example.com": false, "127.0.0.1.example.com": false,
		"[::1%lo]:1": false, "[::1": false, "localhost:x": false, "127.1": false,
	} {
		if got := netrange.Loopback(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}

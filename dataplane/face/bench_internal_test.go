package face

import "testing"

// BenchmarkSpecial is what every request pays for there being other faces.
func BenchmarkSpecial(b *testing.B) {
	for b.Loop() {
		if special("/everything/mcp") || special("/mcp") || special("/mcp/") {
			b.Fatal("special")
		}
	}
}

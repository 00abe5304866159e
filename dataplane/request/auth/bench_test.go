package auth_test

import "testing"

func BenchmarkAdmitKey(b *testing.B) {
	w := newWorld(b)
	h := headers(lite, "Bearer "+bob, std, "Bearer something-else")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.gate.Admit(b.Context(), w.table, h, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAdmitTokenSeen(b *testing.B) {
	w := newWorld(b)
	h := headers(std, "Bearer "+w.token(b, map[string]any{"email": "ann@example.com", "scope": "openid profile mcp:tools"}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.gate.Admit(b.Context(), w.table, h, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHoldsNothing(b *testing.B) {
	w := newWorld(b)
	b.ReportAllocs()
	for b.Loop() {
		if w.gate.Holds(w.table, "eu-west-1") {
			b.Fatal("found")
		}
	}
}

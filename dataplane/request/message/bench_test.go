package message_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

var sizes = []struct{ name, body string }{
	{"500B", modernCall},
	{"64KiB-text", strings.Replace(modernCall, `"Oslo"`, `"`+strings.Repeat("Oslo is rainy. ", 64<<10/15)+`"`, 1)},
	{"64KiB-nested", strings.Replace(modernCall, `"Oslo"`, `[`+strings.Repeat(`{"a":[1,2,{"b":null}],"c":"d"},`, 64<<10/31)+`0]`, 1)},
}

func BenchmarkScan(b *testing.B) {
	for _, s := range sizes {
		b.Run(s.name, func(b *testing.B) {
			body := []byte(s.body)
			var e message.Envelope
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := message.Scan(body, 64, &e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkScanPeers is the yardstick: the least that jsontext and encoding/json can do, which is to check the grammar.
func BenchmarkScanPeers(b *testing.B) {
	for _, s := range sizes {
		body := []byte(s.body)
		b.Run(s.name+"/jsontext", func(b *testing.B) {
			var d jsontext.Decoder
			var r bytes.Buffer
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r = *bytes.NewBuffer(body)
				d.Reset(&r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
				if err := d.SkipValue(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(s.name+"/encoding-json", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if !json.Valid(body) {
					b.Fatal("not JSON")
				}
			}
		})
	}
}

func BenchmarkAgree(b *testing.B) {
	body := []byte(modernCall)
	e := scanned(b, modernCall)
	h := headers("Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "get_weather")
	b.ReportAllocs()
	for b.Loop() {
		if err := message.Agree(h, body, e, message.Modern); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSplice(b *testing.B) {
	for _, s := range sizes[:2] {
		b.Run(s.name, func(b *testing.B) {
			body := []byte(s.body)
			e := scanned(b, s.body)
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = message.Splice(dst[:0], body, e, ours, "")
			}
		})
	}
}

func BenchmarkAnswers(b *testing.B) {
	small := []byte(`{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"` + strings.Repeat("hello ", 40) + `"}],"isError":false}}`)
	large := []byte(`{"result":{"content":[{"type":"text","text":"` + strings.Repeat(`line\n`, 200_000) + `"}]},"jsonrpc":"2.0","id":7}`)
	for name, data := range map[string][]byte{"300B": small, "1MiB": large} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if ok, _ := message.Answers(data, []byte("7")); !ok {
					b.Fatal("not answered")
				}
			}
		})
	}
}

func BenchmarkData(b *testing.B) {
	event := []byte("event: message\ndata: " + modernCall + "\n\n")
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = message.Data(dst[:0], event)
	}
}

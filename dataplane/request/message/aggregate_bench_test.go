package message_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/message"
)

// listOf is a tools/list answer of n tools of about 500 bytes each.
func listOf(n int) []byte {
	tools := make([]string, n)
	for i := range tools {
		tools[i] = fmt.Sprintf(`{"name":"search_repositories_%d","title":"Search","description":"%s","inputSchema":{"type":"object","properties":{`+
			`"query":{"type":"string","description":"What to look for"},"page":{"type":"integer","minimum":1},"limit":{"type":"integer","maximum":100}},`+
			`"required":["query"]},"annotations":{"readOnlyHint":true,"idempotentHint":true},"_meta":{"vendor/x":1}}`, i, strings.Repeat("Find things. ", 10))
	}
	return []byte(`{"jsonrpc":"2.0","id":1,"result":{"tools":[` + strings.Join(tools, ",") + `],"nextCursor":"n"}}`)
}

func BenchmarkItems(b *testing.B) {
	data := listOf(50)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if l, err := message.Items(data, "tools"); err != nil || len(l.Items) != 50 {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendItem(b *testing.B) {
	l, err := message.Items(listOf(1), "tools")
	if err != nil {
		b.Fatal(err)
	}
	raw := l.Items[0].Raw
	for _, c := range []struct {
		name string
		view message.View
		wrap func(string) string
	}{
		{"renamed", message.View{Name: "github-search_repositories_0"}, nil},
		{"renamed-wrapped", message.View{Name: "github-search_repositories_0"}, mark},
		{"all", message.View{Name: "github-search_repositories_0", Description: "Search", Parameters: []string{"query", "page"}}, mark},
	} {
		b.Run(c.name, func(b *testing.B) {
			dst := make([]byte, 0, 4096)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				dst = message.AppendItem(dst[:0], raw, c.view, c.wrap)
			}
		})
	}
}

func BenchmarkWrapURIs(b *testing.B) {
	text := `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"` + strings.Repeat("It rains in Oslo today. ", 80) + `"}],"isError":false}}`
	for _, c := range []struct{ name, data string }{
		{"2KiB-text", text},
		{"2KiB-text-with-escapes", strings.Replace(text, "rains", `r\u0061ins`, 1)},
		{"2KiB-link", strings.Replace(text, `}],"is`, `},{"type":"resource_link","uri":"file:///a","name":"a"}],"is`, 1)},
	} {
		b.Run(c.name, func(b *testing.B) {
			data := []byte(c.data)
			dst := make([]byte, 0, 8192)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, _, err = message.WrapURIs(dst[:0], data, mark); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRename(b *testing.B) {
	body := []byte(modernCall)
	e := scanned(b, modernCall)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = message.Rename(dst[:0], body, e, "weather")
	}
}

func BenchmarkIsServerRequest(b *testing.B) {
	data := []byte(`{"jsonrpc":"2.0","id":"7","method":"sampling/createMessage","params":{"messages":[{"role":"user","content":{"type":"text","text":"hello"}}],"maxTokens":100}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := message.IsServerRequest(data); !ok {
			b.Fatal("no request")
		}
	}
}

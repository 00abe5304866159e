package gather_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/gather"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/confset"
)

// BenchmarkList merges 20 servers of 50 tools of 500 bytes: goal 1 ms.
func BenchmarkList(b *testing.B) {
	objs := []confset.Object{key(b, everything())}
	lists := map[string]*catalogue.List{}
	var outcomes []gather.Outcome
	for i := range 20 {
		name := fmt.Sprintf("server%02d", i)
		objs = append(objs, server(b, name, nil))
		l := &catalogue.List{}
		for j := range 50 {
			tool := fmt.Sprintf("tool_%02d", j)
			raw := fmt.Sprintf(`{"name":%q,"description":%q,"inputSchema":{"type":"object","properties":{"path":{"type":"string"},"n":{"type":"integer"}}}}`,
				tool, strings.Repeat("What it does. ", 27))
			l.Items = append(l.Items, message.Item{Name: tool, Raw: []byte(raw)})
		}
		lists[name] = l
		outcomes = append(outcomes, gather.Outcome{Server: name, Status: gather.OK})
	}
	s := scope(b, tabled(b, objs...), "")
	page := gather.Page{Scope: s, Parts: parts(s, lists), Most: 1000, Outcomes: outcomes, Modern: true}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = gather.AppendList(dst[:0], []byte("1"), page, seal); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(dst)), "bytes")
}

func BenchmarkEach(b *testing.B) {
	all := members(20, 0)
	b.ReportAllocs()
	for b.Loop() {
		gather.Each(b.Context(), all, func(context.Context, int) error { return nil })
	}
}

func BenchmarkFunnel(b *testing.B) {
	f := gather.NewFunnel(b.Context())
	defer f.Close()
	for i := range 20 {
		f.Add(fmt.Sprint(i), flood("data: x\n\n", nil))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := f.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

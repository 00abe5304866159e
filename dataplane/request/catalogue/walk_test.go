package catalogue_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/proto/fault"
)

// Red when finish doesn't sort stably, or doesn't compact.
func TestAllPagesAreWalkedSortedAndTheFirstOfTwoNamesCounts(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		pages := map[string][]byte{
			"":   page(`"nextCursor":"p2",`, "zeta", "alpha"),
			"p2": page(`"nextCursor":"p3",`),
			"p3": []byte(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"beta"},{"name":"alpha","second":true}]}}`),
		}
		src := &source{page: func(_ context.Context, _ catalogue.Kind, cursor string) ([]byte, error) {
			return pages[cursor], nil
		}}
		l := list(t, c, keyOf(server()), server(), src)
		if got := names(l); got != "alpha beta zeta" {
			t.Errorf("names %q", got)
		}
		it, ok := l.Find("alpha")
		if !ok || string(it.Raw) != `{"name":"alpha","inputSchema":{"type":"object"}}` {
			t.Errorf("alpha is %v", it)
		}
		if _, ok = l.Find("gamma"); ok {
			t.Error("found what isn't there")
		}
	})
}

// Red when take keeps subslices of the answer.
func TestAListDoesntHoldTheSourcesBuffer(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		buffer := page("", "search")
		l := list(t, c, keyOf(server()), server(), always(buffer))
		for i := range buffer {
			buffer[i] = 'x'
		}
		if got := string(l.Items[0].Raw); got != `{"name":"search","inputSchema":{"type":"object"}}` {
			t.Errorf("raw is %s", got)
		}
	})
}

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "tool" + strconv.Itoa(i)
	}
	return out
}

// Each line was red with its bound taken out of walk.go.
func TestHostileListsAreRefused(t *testing.T) {
	turn := 0
	endless := func(n int) func(context.Context, catalogue.Kind, string) ([]byte, error) {
		rest := page("", numbered(n)...)[len(`{"jsonrpc":"2.0","id":1,"result":{`):]
		return func(context.Context, catalogue.Kind, string) ([]byte, error) {
			turn++
			return append(fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"c%d",`, turn), rest...), nil
		}
	}
	still := func(answer []byte) func(context.Context, catalogue.Kind, string) ([]byte, error) {
		return func(context.Context, catalogue.Kind, string) ([]byte, error) { return answer, nil }
	}
	for _, tt := range []struct {
		name string
		page func(context.Context, catalogue.Kind, string) ([]byte, error)
		kind fault.Kind
		says string
	}{
		{"cursors without an end", endless(0), fault.TooLarge, "200 pages"},
		{"a cursor that comes back", still(page(`"nextCursor":"again",`, "a")), fault.Malformed, "cursor"},
		{"20,001 items on one page", still(page("", numbered(20_001)...)), fault.TooLarge, "20000 items"},
		{"20,100 items on many pages", endless(300), fault.TooLarge, "20000 items"},
		{"33 MiB", still(page(`"filler":"` + string(bytes.Repeat([]byte("x"), 33<<20)) + `",`)), fault.TooLarge, "32 MiB"},
		{"no JSON", still([]byte("<html>")), fault.Malformed, ""},
		{"half an answer", still([]byte(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}`)), fault.Malformed, ""},
		{"nothing", still(nil), fault.Malformed, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
				src := &source{page: tt.page}
				_, err := c.List(t.Context(), keyOf(server()), server(), src)
				wantFault(t, err, fault.Upstream, fault.Protocol, tt.kind, tt.says)
				if _, ok := c.Peek(keyOf(server())); ok {
					t.Error("it was kept")
				}
			})
		})
	}
}

// Red without unknown in walk.go.
func TestWhatAServerDoesNotKnowItDoesNotHave(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src := always([]byte(`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}`))
		l, err := c.List(t.Context(), keyOf(server()), server(), src)
		if err != nil || len(l.Items) != 0 {
			t.Fatalf("%v %v", l, err)
		}
		if _, ok := c.Peek(keyOf(server())); !ok {
			t.Error("it wasn't kept")
		}
		_, err = c.List(t.Context(), modernKey(server(), "x"), server(), always([]byte(`{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}`)))
		wantFault(t, err, fault.Upstream, fault.Protocol, fault.Refused, "-32603")
	})
}

// Red when the bound is one lower.
func TestTheLargestListsPass(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		all, turn := numbered(20_000), 0
		src := &source{page: func(context.Context, catalogue.Kind, string) ([]byte, error) {
			turn++
			next := fmt.Sprintf(`"nextCursor":"c%d",`, turn)
			if turn == 200 {
				next = ""
			}
			return page(next, all[(turn-1)*100:turn*100]...), nil
		}}
		if l := list(t, c, keyOf(server()), server(), src); len(l.Items) != 20_000 {
			t.Errorf("%d items", len(l.Items))
		}
	})
}

func TestAJSONRPCErrorIsAFaultOfTheNamedServer(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		answer := []byte(`{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"broken"}}`)
		_, err := c.List(t.Context(), keyOf(server()), server(), always(answer))
		f := fault.As(err)
		if f == nil || !f.Remote || f.Server != "github" || f.Hop != fault.Upstream || f.Phase != fault.Protocol {
			t.Errorf("error %v", err)
		}
	})
}

func TestEachKindHasItsMethodAndMember(t *testing.T) {
	for kind, want := range map[catalogue.Kind]string{
		catalogue.Tools: "tools/list tools", catalogue.Prompts: "prompts/list prompts", catalogue.Resources: "resources/list resources",
		catalogue.Templates: "resources/templates/list resourceTemplates", catalogue.Any: " ",
	} {
		if got := kind.Method() + " " + kind.Member(); got != want {
			t.Errorf("kind %d: %q, want %q", kind, got, want)
		}
	}
}

// Red when a page's own time isn't looked at.
func TestTheShortestTimeOfAllPagesCounts(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		s := server()
		pages := map[string][]byte{"": page(`"ttlMs":60000,"nextCursor":"p2",`, "a"), "p2": page(`"ttlMs":5000,`, "b")}
		src := &source{page: func(_ context.Context, _ catalogue.Kind, cursor string) ([]byte, error) { return pages[cursor], nil }}
		if l := list(t, c, modernKey(s, ""), s, src); l.TTL != 5*time.Second {
			t.Errorf("ttl %v", l.TTL)
		}
	})
}

// Red when nobody counts: tools would get lost without a word.
func TestWhatIsLeftOutOfAListIsCounted(t *testing.T) {
	bubble(t, catalogue.Config{}, func(t *testing.T, c *catalogue.Catalogue) {
		src := &source{page: func(_ context.Context, _ catalogue.Kind, cursor string) ([]byte, error) {
			if cursor == "" {
				return []byte(`{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"2","tools":[{"name":"a"},null,5,{"name":""},{"name":"b"},{"title":"c"}]}}`), nil
			}
			return []byte(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":7},{"name":"b"},{"name":"b"}]}}`), nil
		}}
		l := list(t, c, keyOf(server()), server(), src)
		if names(l) != "a b" || l.Nameless != 5 || l.Twice != 3 {
			t.Errorf("%s, %d without a name, %d twice", names(l), l.Nameless, l.Twice)
		}
	})
}

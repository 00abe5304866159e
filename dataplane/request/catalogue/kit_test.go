package catalogue_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hopgate/hopgate/dataplane/request/catalogue"
	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/dataplane/table"
	"github.com/hopgate/hopgate/proto/confset"
	"github.com/hopgate/hopgate/proto/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source answers as a test says.
type source struct {
	page  func(ctx context.Context, kind catalogue.Kind, cursor string) ([]byte, error)
	tells bool
	watch func(ctx context.Context, changed func(catalogue.Kind)) error
	asked atomic.Int64 // pages
	opens atomic.Int64 // watches
}

func (s *source) Page(ctx context.Context, kind catalogue.Kind, cursor string) ([]byte, error) {
	s.asked.Add(1)
	return s.page(ctx, kind, cursor)
}

func (s *source) TellsChanges(catalogue.Kind) bool { return s.tells }

func (s *source) Watch(ctx context.Context, changed func(catalogue.Kind)) error {
	s.opens.Add(1)
	return s.watch(ctx, changed)
}

// always answers each request with the same page.
func always(answer []byte) *source {
	return &source{page: func(context.Context, catalogue.Kind, string) ([]byte, error) { return answer, nil }}
}

// page is an answer with tools of these names. more are members of the result, each with a comma behind it.
func page(more string, names ...string) []byte {
	items := make([]string, len(names))
	for i, n := range names {
		items[i] = fmt.Sprintf(`{"name":%q,"inputSchema":{"type":"object"}}`, n)
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"result":{%s"tools":[%s]}}`, more, strings.Join(items, ","))
}

// server lives 30 s in memory.
func server() *table.Server {
	s := &table.Server{Name: "github", Hash: confset.HashBody([]byte("github")), ListTTL: 30 * time.Second}
	s.Timeouts.List = 10 * time.Second
	return s
}

func keyOf(s *table.Server) catalogue.Key { return catalogue.Key{Server: s.Hash} }

func modernKey(s *table.Server, scope string) catalogue.Key {
	return catalogue.Key{Server: s.Hash, Era: message.Modern, Scope: scope}
}

// bubble runs a test with a catalogue on a clock of its own.
func bubble(t *testing.T, cfg catalogue.Config, run func(t *testing.T, c *catalogue.Catalogue)) {
	synctest.Test(t, func(t *testing.T) {
		c := catalogue.New(cfg)
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { c.Run(ctx); close(done) }()
		defer func() { cancel(); <-done }()
		run(t, c)
	})
}

// pass lets time go by in a bubble, and all that happens in it.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func list(t *testing.T, c *catalogue.Catalogue, key catalogue.Key, s *table.Server, src catalogue.Source) *catalogue.List {
	t.Helper()
	l, err := c.List(t.Context(), key, s, src)
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	return l
}

func names(l *catalogue.List) string {
	var b []string
	for n := range l.Names() {
		b = append(b, n)
	}
	return strings.Join(b, " ")
}

// wantAsked fails unless the source was asked for so many pages.
func wantAsked(t *testing.T, src *source, want int64) {
	t.Helper()
	if got := src.asked.Load(); got != want {
		t.Fatalf("asked for %d pages, want %d", got, want)
	}
}

func wantFault(t *testing.T, err error, hop fault.Hop, phase fault.Phase, kind fault.Kind, words ...string) {
	t.Helper()
	f := fault.As(err)
	if f == nil {
		t.Fatalf("error %v, want a fault", err)
	}
	if f.Hop != hop || f.Phase != phase || f.Kind != kind || f.Server != "github" {
		t.Fatalf("fault %s, want %s %s %s of github", f.Header(), hop, phase, kind)
	}
	for _, w := range words {
		if !strings.Contains(f.Message, w) {
			t.Errorf("message %q doesn't say %q", f.Message, w)
		}
	}
}

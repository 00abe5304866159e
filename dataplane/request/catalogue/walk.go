package catalogue

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hopgate/hopgate/dataplane/request/message"
	"github.com/hopgate/hopgate/proto/fault"
)

// Bounds of one walk.
const (
	mostPages = 200
	mostItems = 20_000
	mostBytes = 32 << 20
	// longestTTL bounds what a server says.
	longestTTL = 24 * time.Hour
)

// walker gathers the pages of one walk.
type walker struct {
	flight  *flight
	list    *List
	cursors map[string]struct{}
	answers int64 // bytes that came
	reading int64 // bytes reserved for the page that is being read
	kept    int64 // bytes that stay
}

// walk asks for every page, and returns the whole list with what it costs to keep.
func (c *Catalogue) walk(ctx context.Context, f *flight) (*List, int64, error) {
	w := &walker{flight: f, list: &List{Fetched: f.at, TTL: longestTTL}, cursors: make(map[string]struct{})}
	defer func() { c.flying.Add(-w.answers - w.reading) }()
	ctx = context.WithValue(ctx, roomKey{}, &room{c: c, w: w})
	cursor := ""
	for range mostPages {
		f.enter(fault.Headers)
		answer, err := f.src.Page(ctx, f.key.Kind, cursor)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, 0, c.broken(f, err)
		}
		reserved := w.reading
		w.answers, w.reading = w.answers+int64(len(answer)), 0
		if c.flying.Add(int64(len(answer))-reserved) > c.room {
			return nil, 0, busy(f.server)
		}
		if cursor, err = w.add(answer); err != nil {
			return nil, 0, err
		}
		if cursor == "" {
			return w.finish()
		}
	}
	return nil, 0, f.refuse(fault.TooLarge, "with more than "+strconv.Itoa(mostPages)+" pages", "let it answer with larger pages")
}

// add takes over one page and returns the cursor of the next one.
func (w *walker) add(answer []byte) (next string, err error) {
	f := w.flight
	if w.answers > mostBytes {
		return "", f.refuse(fault.TooLarge, "with more than 32 MiB", "let it list less")
	}
	page, err := message.Items(answer, f.key.Kind.Member())
	if err != nil && !unknown(err) {
		return "", f.unreadable(err)
	}
	if len(w.list.Items)+len(page.Items) > mostItems {
		return "", f.refuse(fault.TooLarge, "with more than "+strconv.Itoa(mostItems)+" items", "let it list less")
	}
	w.take(page.Items)
	w.list.Nameless += page.Nameless
	w.list.TTL = min(w.list.TTL, f.ttl(&page))
	w.list.Private = w.list.Private || page.Private
	if page.Next != "" {
		if _, again := w.cursors[page.Next]; again {
			return "", f.refuse(fault.Malformed, "with a cursor that it had given before", "its pages go round in a circle: report it to who maintains it")
		}
		w.cursors[page.Next] = struct{}{}
	}
	return page.Next, nil
}

// unknown reports whether a server doesn't know the method. It then has nothing of the kind: one that offers tools only needn't know of prompts.
func unknown(err error) bool {
	f := fault.As(err)
	return f != nil && f.Remote && f.Phase == fault.Protocol && f.Kind == fault.Unsupported
}

// take copies the items out of the answer: what else stood in it isn't kept.
func (w *walker) take(items []message.Item) {
	size := 0
	for i := range items {
		size += len(items[i].Raw)
		w.kept += int64(len(items[i].Name))
	}
	raw := make([]byte, 0, size)
	for _, it := range items {
		from := len(raw)
		raw = append(raw, it.Raw...)
		it.Raw = raw[from:len(raw):len(raw)]
		w.list.Items = append(w.list.Items, it)
	}
	w.kept += int64(size)
}

func (w *walker) finish() (*List, int64, error) {
	l, all := w.list, len(w.list.Items)
	slices.SortStableFunc(l.Items, func(a, b message.Item) int { return strings.Compare(a.Name, b.Name) })
	l.Items = slices.Clip(slices.CompactFunc(l.Items, func(a, b message.Item) bool { return a.Name == b.Name }))
	l.Twice = all - len(l.Items)
	return l, entryCost + w.kept + itemCost*int64(len(l.Items)), nil
}

// ttl is how long a page may be kept: as the server says in revision 2026-07-28, else as its config does.
func (f *flight) ttl(page *message.Listed) time.Duration {
	if f.key.Era == message.Modern && page.HasTTL {
		return max(page.TTL, 0)
	}
	return max(f.server.ListTTL, 0)
}

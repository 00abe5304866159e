package api_test

import (
	"context"
	"encoding/base64"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/hopgate/hopgate/controlplane/admit"
	"github.com/hopgate/hopgate/controlplane/api"
	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/controlplane/store/memstore"
)

// longHistory is a store whose history has changes of many objects each. It counts what is read of it.
type longHistory struct {
	*memstore.Store
	changes, objects int

	read    atomic.Int64 // objects of all changes read
	largest atomic.Int64 // objects of the changes read at once
}

// record is the change of one second; the first one is of the second 1.
func (l *longHistory) record(second int) *store.ChangeRecord {
	rec := &store.ChangeRecord{Objects: make([]store.Changed, l.objects), Time: time.Unix(int64(second), 0)}
	for i := range rec.Objects {
		rec.Objects[i] = store.Changed{Kind: "server", Name: "s", After: strings.Repeat("0", 64)}
	}
	var id ulid.ULID
	if err := id.SetTime(uint64(second) * 1000); err != nil { //nolint:gosec // small
		panic(err)
	}
	rec.ID = id.String()
	return rec
}

func (l *longHistory) Change(_ context.Context, id string) (*store.ChangeRecord, error) {
	return l.record(int(ulid.MustParse(id).Time() / 1000)), nil //nolint:gosec // small
}

func (l *longHistory) Changes(_ context.Context, before string, n int) (out []*store.ChangeRecord, err error) {
	second := l.changes
	if before != "" {
		second = int(ulid.MustParse(before).Time()/1000) - 1 //nolint:gosec // small
	}
	for ; second > 0 && len(out) < n; second-- {
		out = append(out, l.record(second))
	}
	l.read.Add(int64(len(out) * l.objects))
	l.largest.Store(max(l.largest.Load(), int64(len(out)*l.objects)))
	return out, nil
}

func TestOneCallReadsABoundedPartOfAHistoryOfLargeChanges(t *testing.T) {
	const atOnce, inAll = 100_000, 1_000_000 // objects
	l := &longHistory{Store: memstore.New(), changes: 400, objects: 5000}
	p := start(t, l.Store, func(c *api.Config, _ *admit.Config) { c.Store = l })
	oldest := l.record(1).ID
	for path, status := range map[string]int{"/v1/changes?page_size=1000": 200, "/v1/changes?object=server/a": 200, "/v1/diff?from=" + oldest: 400} {
		l.read.Store(0)
		l.largest.Store(0)
		got := p.must(status, "GET", path, "")
		if l.largest.Load() > atOnce || l.read.Load() > inAll {
			t.Errorf("%s: %d objects at once, %d in all", path, l.largest.Load(), l.read.Load())
		}
		if status == 200 && str(got, "next_page_token") == "" {
			t.Errorf("%s ends: %v", path, got)
		}
		if status == 400 && !strings.Contains(str(got, "message"), "too many changes lie between") {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestPageTokensOfTheHistoryNameAChange(t *testing.T) {
	p := start(t, memstore.New())
	for list, path := range map[string]string{"change": "/v1/changes?", "change of server/a": "/v1/changes?object=server/a&"} {
		forged := base64.RawURLEncoding.EncodeToString([]byte(list + "\x00rubbish"))
		const want = "page_token: isn't a token of this API; send next_page_token of the page before as it came"
		if got := violations(p.must(400, "GET", path+"page_token="+forged, "")); strings.Join(got, "|") != want {
			t.Errorf("%s: %q", list, got)
		}
	}
}

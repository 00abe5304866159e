package api

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/hopgate/hopgate/controlplane/store"
	"github.com/hopgate/hopgate/proto/confset"
	adminv1 "github.com/hopgate/hopgate/proto/gen/hopgate/admin/v1"
	"github.com/hopgate/hopgate/proto/rules"
)

const (
	// historyFirst is how many records are read from the store first, and historyStep how many at most at a time.
	historyFirst = 20
	historyStep  = 500
	// historyPart is about how many objects all records that are read at a time may name: a change may name thousands.
	historyPart = 20_000
	// historyMost and historyObjects bound the records that one call looks at, and the objects that all these name.
	historyMost    = 10_000
	historyObjects = 500_000
)

// looked is how much of the history a call has looked at.
type looked struct{ records, objects int }

// enough says whether a call must look at no more.
func (l *looked) enough() bool { return l.records >= historyMost || l.objects >= historyObjects }

func (l *looked) at(rec *store.ChangeRecord) {
	l.records++
	l.objects += len(rec.Objects)
}

// before yields every record older than a change, newest first; an empty id is now.
func (s *service) before(ctx context.Context, id string) iter.Seq2[*store.ChangeRecord, error] {
	return func(yield func(*store.ChangeRecord, error) bool) {
		for step := historyFirst; ; {
			recs, err := s.cfg.Store.Changes(ctx, id, step)
			if err != nil {
				yield(nil, fmt.Errorf("read the history: %w", err))
				return
			}
			var part looked
			for _, rec := range recs {
				if !yield(rec, nil) {
					return
				}
				id = rec.ID
				part.at(rec)
			}
			if len(recs) < step {
				return
			}
			step = min(historyStep, 4*step, 1+historyPart*len(recs)/(part.objects+1))
		}
	}
}

// changesOf is a page of the records that touched one object. There is no index of them: a call looks at a part of the history and tells
// where the next one goes on.
func (s *service) changesOf(ctx context.Context, r *adminv1.ListRequest) (*adminv1.ListChangesResponse, error) {
	key, err := objectKey(r.GetObject())
	if err != nil {
		return nil, err
	}
	list := kindChange + " of " + key.String()
	n, from, err := page(r, list)
	if err != nil {
		return nil, err
	}
	out := &adminv1.ListChangesResponse{}
	var seen looked
	bytes := 0
	for rec, err := range s.before(ctx, from) {
		if err != nil {
			return nil, refusal(err)
		}
		if seen.enough() || len(out.GetChanges()) == n || bytes > pageBytes {
			out.NextPageToken = token{list, from}.String()
			break
		}
		if seen.at(rec); touches(rec, key) {
			c := changeOf(rec)
			bytes += proto.Size(c)
			out.Changes = append(out.Changes, c)
		}
		from = rec.ID
	}
	return out, nil
}

// touches says whether a change is about an object.
func touches(rec *store.ChangeRecord, key confset.Key) bool {
	return slices.ContainsFunc(rec.Objects, func(c store.Changed) bool { return c.Kind == key.Kind && c.Name == key.Name })
}

// objectKey reads KIND/NAME.
func objectKey(s string) (confset.Key, error) {
	word, name, _ := strings.Cut(s, "/")
	kind, ok := rules.Canonical(word)
	if !ok || !open(kind) || store.CheckKey(confset.Key{Kind: kind, Name: name}) != nil {
		return confset.Key{}, invalidField("object", "isn't KIND/NAME", "write for example server/github; kinds are "+strings.Join(slices.Sorted(slices.Values(rules.Kinds())), ", "))
	}
	return confset.Key{Kind: kind, Name: name}, nil
}

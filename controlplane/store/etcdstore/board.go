package etcdstore

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/hopgate/hopgate/controlplane/store"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// board is the notes of a meeting by their keys.
type board map[string]said

type said struct {
	name  string
	text  []byte
	fence store.Fence
}

// put adds or replaces a note. A key that no meeting writes is none.
func (b board) put(kv *mvccpb.KeyValue) {
	key := string(kv.Key)
	named, _, ok := strings.Cut(strings.TrimPrefix(key, meetings), "/")
	name, err := url.PathUnescape(named)
	if !ok || err != nil {
		return
	}
	b[key] = said{name, kv.Value, store.Fence{Key: key, Created: kv.CreateRevision}}
}

// notes is all of them, oldest first, as the one hears them whose note own is of.
func (b board) notes(own store.Fence) []store.Note {
	all := make([]store.Note, 0, len(b))
	for _, n := range b {
		all = append(all, store.Note{Name: n.name, Text: slices.Clone(n.text), Own: n.fence == own, Fence: n.fence})
	}
	slices.SortFunc(all, func(x, y store.Note) int { return cmp.Compare(x.Fence.Created, y.Fence.Created) })
	return all
}

package etcdstore

import (
	"container/list"
	"sync"

	"github.com/hopgate/hopgate/proto/confset"
)

// cacheBytes bounds the bodies kept by hash: enough for the bodies of many changes, far from a whole fleet.
const cacheBytes = 8 << 20

// cache holds the most recently used bodies. A body is named by its content, so an entry is never stale.
type cache struct {
	mu    sync.Mutex
	room  int // bytes left
	byUse *list.List
	items map[confset.Hash]*list.Element
}

type cached struct {
	hash confset.Hash
	body []byte
}

func newCache(bytes int) *cache {
	return &cache{room: bytes, byUse: list.New(), items: make(map[confset.Hash]*list.Element)}
}

func (c *cache) get(hash confset.Hash) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[hash]
	if !ok {
		return nil, false
	}
	c.byUse.MoveToFront(e)
	return e.Value.(cached).body, true
}

func (c *cache) put(hash confset.Hash, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[hash]; ok {
		c.byUse.MoveToFront(e)
		return
	}
	c.items[hash] = c.byUse.PushFront(cached{hash, body})
	c.room -= len(body)
	for c.room < 0 {
		oldest := c.byUse.Remove(c.byUse.Back()).(cached)
		delete(c.items, oldest.hash)
		c.room += len(oldest.body)
	}
}

package jwt

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/hopgate/hopgate/dataplane/table"
)

const (
	cacheRows = 4096 // a power of two
	cacheWays = 4
)

// memory is a token that was verified.
type memory struct {
	hash       [32]byte
	caller     *Caller
	provider   *table.IdentityProvider
	generation uint64 // of the keys it was verified with
}

// cache remembers up to 16,384 verified tokens. A token has four places; reading is four loads and takes no lock. Only verified tokens come
// in, so nobody without a valid one can push others out.
type cache struct {
	rows [cacheRows][cacheWays]atomic.Pointer[memory]
}

func (c *cache) row(hash *[32]byte) *[cacheWays]atomic.Pointer[memory] {
	return &c.rows[binary.LittleEndian.Uint32(hash[:])&(cacheRows-1)]
}

func (c *cache) get(hash [32]byte) *memory {
	row := c.row(&hash)
	for i := range row {
		if m := row[i].Load(); m != nil && m.hash == hash {
			return m
		}
	}
	return nil
}

// put takes the token's own place, a free one, or that of the token that expires first.
func (c *cache) put(m *memory) {
	row := c.row(&m.hash)
	place := 0
	for i := range row {
		old := row[i].Load()
		if old == nil || old.hash == m.hash {
			place = i
			break
		}
		if old.caller.Expires.Before(row[place].Load().caller.Expires) {
			place = i
		}
	}
	row[place].Store(m)
}

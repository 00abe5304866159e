package catalogue

// Kept is how many lists are in memory.
func Kept(c *Catalogue) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lists.byUse())
}

// Bytes is what they cost.
func Bytes(c *Catalogue) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lists.bytes
}

// Servers is of how many servers changes are counted.
func Servers(c *Catalogue) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.changes)
}

// Watches is how many streams are held open, or wait to be.
func Watches(c *Catalogue) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watches)
}

// SetRoom bounds the bytes of walks under way.
func SetRoom(c *Catalogue, bytes int64) { c.room = bytes }

// Asked is of how many keys is remembered that they were asked for.
func Asked(c *Catalogue) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.asked)
}

// Late is how many servers are remembered that ran out of time.
func Late(c *Catalogue) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.late)
}

// Flying is what walks under way hold.
func Flying(c *Catalogue) int64 { return c.flying.Load() }

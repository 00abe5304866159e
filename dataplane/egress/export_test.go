package egress

// Lanes is how many sets of connections are kept.
func Lanes(c *Client) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lanes)
}

// Public is the judgement about an address.
var Public = public

package policy

// Remember sets how many limits are remembered at most.
func Remember(l *Limits, most int) { l.buckets.most = most }

// Buckets is how many limits are remembered.
func Buckets(l *Limits) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buckets.count
}

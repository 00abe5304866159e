package credential

// Kept counts what a resolver holds: plans, entries of servers, exchanged tokens.
func (r *Resolver) Kept() (plans, owners, exchanged int) {
	r.plans.Range(func(any, any) bool { plans++; return true })
	r.mu.Lock()
	owners = len(r.owners)
	r.mu.Unlock()
	for i := range r.exchanged {
		r.exchanged[i].mu.Lock()
		exchanged += len(r.exchanged[i].entries)
		r.exchanged[i].mu.Unlock()
	}
	return plans, owners, exchanged
}

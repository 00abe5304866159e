package memstore

import "context"

// Attend counts this handle among those at work on the store; see store.Store. Names mean nothing here: no handle dies without a word.
func (s *Store) Attend(ctx context.Context, _ string, count func(n int)) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	s.c.attending++
	s.c.wakeLocked()
	s.c.mu.Unlock()
	defer s.force(func(c *content) { c.attending-- })
	for told := 0; ; {
		n, changed, err := s.attending(ctx)
		if err != nil {
			return err
		}
		if n != told {
			told = n
			count(n)
		}
		select {
		case <-changed:
		case <-s.closed:
		case <-ctx.Done():
		}
	}
}

// attending returns how many handles attend, and a channel that is closed when that may have changed.
func (s *Store) attending(ctx context.Context) (int, <-chan struct{}, error) {
	if err := s.enter(ctx); err != nil {
		return 0, nil, err
	}
	defer s.c.mu.Unlock()
	return s.c.attending, s.c.changed, nil
}

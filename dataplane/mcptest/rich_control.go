package mcptest

import "slices"

// What tests do to a Rich server while it runs.

// Forget ends a session as a restart would: without a word. It is what DELETE does.
func (s *Rich) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.visits[id]; v != nil {
		v.end()
		delete(s.visits, id)
	}
}

// Sessions returns the ids of the sessions that are open, sorted.
func (s *Rich) Sessions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id := range s.visits {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Begun returns how many sessions have begun.
func (s *Rich) Begun() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// Push tells all sessions something on their standalone streams; who isn't listening has it when it listens.
func (s *Rich) Push(data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.visits {
		v.append(0, data, false)
	}
}

// Change changes its fields while it runs.
func (s *Rich) Change(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// CutStreams breaks all streams that are open; what belongs to them is kept.
func (s *Rich) CutStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.visits {
		v.cut()
	}
}

package jwt

// Stop ends fetches as Run does at its end.
func Stop(t *Tokens) { t.stop() }

// Refresh begins what is due, as Run does, and waits for it.
func Refresh(t *Tokens) {
	t.refresh()
	t.busy.Wait()
}

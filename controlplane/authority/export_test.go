package authority

// CheckRequest is keyOf for fuzzing.
func CheckRequest(csr []byte) error {
	_, err := keyOf(csr)
	return err
}

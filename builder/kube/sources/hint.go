package sources

// A hintedError is an error with what the user should do about it beside it.
type hintedError struct {
	err  error
	hint string
}

func withHint(err error, hint string) error { return &hintedError{err, hint} }

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }
func (e *hintedError) Hint() string  { return e.hint }

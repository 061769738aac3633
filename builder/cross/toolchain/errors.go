package toolchain

// Why says what a caller can do about an [Error].
type Why int

// The reasons.
const (
	Settings    Why = iota // GOPROXY cannot be read
	ProxyOff               // GOPROXY says so
	ProxyFailed            // no module proxy answered as it should
	NoRelease              // no module proxy has it
	NoSum                  // nothing says what its hash has to be
	SumFile                // what does cannot be read
	NoArchive              // a file of another form
	NoForm                 // neither a release nor a file
)

// An Error says why there is no toolchain.
type Error struct {
	Why  Why
	Err  error
	Near string // of NoRelease: the nearest release there is, such as 1.15.15
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

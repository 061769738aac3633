// Package builder is the flow from a Kubernetes tree to binaries, and
// everything kbuild asks of buildah: it looks into base images, writes build
// contexts, assembles kube-build images, runs commands in containers of them
// and publishes what comes out. It knows buildah and nothing of registries.
package builder

// hinted is an error with a line that says what the user should do.
type hinted struct {
	error
	hint string
}

func (e *hinted) Hint() string  { return e.hint }
func (e *hinted) Unwrap() error { return e.error }

func withHint(err error, hint string) error { return &hinted{err, hint} }

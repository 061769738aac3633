//go:build !cgo

package namespace

// The C constructor of containers/storage sets up the user namespace. Without
// it the program would start itself again for ever, so it does not compile.
var _ = kbuild_needs_CGO_ENABLED_1

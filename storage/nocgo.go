//go:build !cgo

package storage

// The C constructor of containers/storage sets up the user namespace. Without
// it the program would start itself again for ever, so it does not compile.
var _ = kbuild_needs_CGO_ENABLED_1

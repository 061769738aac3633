package mirror

import "github.com/kbuild/kbuild/storage"

// What tests use that run after those of the package itself: they make the libraries
// remember the home directory.

// RangeOf is rangeOf.
var RangeOf = rangeOf

// CheckSpace is checkSpace.
func (b *Bundle) CheckSpace(store *storage.Store) error { return b.checkSpace(store) }

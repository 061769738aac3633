package mirror

// RangeOf is rangeOf for a test that runs after those of the package itself: it
// makes the libraries remember the home directory.
var RangeOf = rangeOf

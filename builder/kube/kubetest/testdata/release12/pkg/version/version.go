// Package version knows which version the tree was built as.
package version

import (
	"runtime"
)

// The build scripts set these through flags of the linker.
var (
	gitMajor     string = "1"
	gitMinor     string = "2+"
	gitVersion   string = "v1.2.0-unknown"
	gitCommit    string = "unknown"
	gitTreeState string = "not a git tree"
)

// Info is a version.
type Info struct {
	Major, Minor string
	GitVersion   string
	GitCommit    string
	GitTreeState string
	GoVersion    string
}

// Get returns the version this program was built as.
func Get() Info {
	return Info{
		Major:        gitMajor,
		Minor:        gitMinor,
		GitVersion:   gitVersion,
		GitCommit:    gitCommit,
		GitTreeState: gitTreeState,
		GoVersion:    runtime.Version(),
	}
}

// String returns the version as people write it.
func (i Info) String() string {
	return i.GitVersion
}

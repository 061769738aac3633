package output

import (
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// publishable is whether a file, by its path below an output directory, is one
// that is published: name of platform, <os>/<arch>.
func publishable(file string) (platform, name string, ok bool) {
	platform, name = path.Split(file)
	platform = strings.TrimSuffix(platform, "/")
	return platform, name, isPlatform(platform) && visible(file)
}

// visible is whether every element of a path is a name that a compile may give
// to a file that leaves the container. What begins with a dot is read by shells,
// by git and by editors without being asked for, and control characters can do
// anything to a terminal that lists them.
func visible(file string) bool {
	if !utf8.ValidString(file) || strings.ContainsFunc(file, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return false
	}
	for element := range strings.SplitSeq(file, "/") {
		if element == "" || element[0] == '.' {
			return false
		}
	}
	return true
}

// The operating systems and architectures of Go, past ones among them, as
// internal/syslist of Go 1.26 lists them.
const (
	operatingSystems = "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 " +
		"solaris " +
		"wasip1 windows zos"
	architectures = "386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 " +
		"mips64p32le ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm"
)

// isPlatform is whether a path is <os>/<arch>. A user may name any directory for
// the binaries, his home directory as well: what a compile calls an operating
// system must not be bin or Library there.
func isPlatform(dir string) bool {
	system, arch, ok := strings.Cut(dir, "/")
	return ok && isSystem(system) && slices.Contains(strings.Fields(architectures), arch)
}

func isSystem(name string) bool { return slices.Contains(strings.Fields(operatingSystems), name) }

// hasPublishable is whether a directory, by its path below an output directory,
// is one of a platform or holds those.
func hasPublishable(dir string) bool { return isSystem(dir) || isPlatform(dir) }

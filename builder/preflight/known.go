package preflight

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A hole is a fault of a runtime through which a container gets out, with the
// releases that fix it, one for each line; the later lines have no such fault.
type hole struct {
	name  string
	fixed []string
}

// holes of the runtimes. For runc: opencontainers/runc v1.2.8, v1.3.3 and
// v1.4.0-rc.3, and for the last what distributions say that took it over,
// microsoft/azurelinux#17884 and getsolus/packages#9334. crun does not have
// those, see containers/crun#1906; its own are those of its release notes of 1.30,
// but for faults of its krun handler, which nothing here asks for.
var holes = map[string][]hole{
	"runc": {
		{"CVE-2025-31133", []string{"1.2.8", "1.3.3", "1.4.0"}},
		{"CVE-2025-52565", []string{"1.2.8", "1.3.3", "1.4.0"}},
		{"CVE-2025-52881", []string{"1.2.8", "1.3.3", "1.4.0"}},
		{"CVE-2026-41579", []string{"1.3.6", "1.4.3"}},
	},
	"crun": {
		{"CVE-2026-88264", []string{"1.30"}},
		{"CVE-2026-88265", []string{"1.30"}},
	},
}

var (
	release = regexp.MustCompile(`^(\d+)\.(\d+)(?:\.(\d+))?`)
	version = regexp.MustCompile(`^(runc|crun) version (\S+)`)
)

// parse reads a release such as 1.1.5+ds1.
func parse(text string) (v [3]int, ok bool) {
	m := release.FindStringSubmatch(text)
	if m == nil {
		return v, false
	}
	for i := range v {
		if m[i+1] == "" {
			continue // crun's first release of a line has no third number
		}
		var err error
		if v[i], err = strconv.Atoi(m[i+1]); err != nil {
			return v, false
		}
	}
	return v, true
}

// mends reports whether a release has what was fixed in the others.
func mends(v [3]int, fixed []string) bool {
	for i, text := range fixed {
		f, ok := parse(text)
		if !ok {
			continue
		}
		sameLine := v[0] == f[0] && v[1] == f[1]
		later := v[0] > f[0] || v[0] == f[0] && v[1] > f[1]
		if sameLine && v[2] >= f[2] || later && i == len(fixed)-1 {
			return true
		}
	}
	return false
}

// A Package is the distribution's package that a runtime comes from.
type Package struct {
	Name      string // and its version; "" where there is none
	Changelog string // what the distribution says it changed; "" is not known
}

// KnownHoles says which faults a runtime may have, by the version that it says.
// A distribution fixes a release without giving it another number, so that what
// the package's changelog names is fixed, too.
func KnownHoles(said string, p Package) Finding {
	f := Finding{Check: "runtime's version"}
	line, _, _ := strings.Cut(said, "\n")
	m := version.FindStringSubmatch(line)
	if m == nil {
		f.Found = strings.TrimSpace("whether " + line + " has known faults is unknown")
		return f
	}
	f.Found = m[1] + " " + m[2]
	v, ok := parse(m[2])
	if !ok {
		f.Found += ": whether it has known faults is unknown"
		return f
	}
	var open, fixed []string
	for _, h := range holes[m[1]] {
		switch {
		case mends(v, h.fixed):
		case strings.Contains(p.Changelog, h.name):
			fixed = append(fixed, h.name)
		default:
			open = append(open, h.name)
		}
	}
	if fixed != nil {
		f.Found += fmt.Sprintf("; its package, %s, fixes %s", p.Name, strings.Join(fixed, ", "))
	}
	if open == nil {
		return f
	}
	f.Severity = Warning
	f.Found += "; it may have " + strings.Join(open, ", ")
	switch {
	case p.Changelog != "":
		f.Found += fmt.Sprintf(": the changelog of its package, %s, names no fix", p.Name)
	case p.Name != "":
		f.Found += fmt.Sprintf("; whether its package, %s, fixes them is unknown: there is no changelog", p.Name)
	}
	return f
}

// versionTime is what a program has to print its version.
const versionTime = 500 * time.Millisecond

// changelogLimit bounds, in bytes, what is read of a package's changelog.
const changelogLimit = 4 << 20

// InstalledHoles is [KnownHoles] of the runtime that is looked for first here.
func InstalledHoles(ctx context.Context, h Host) (Finding, bool) {
	runtimes := h.Runtimes()
	if len(runtimes) == 0 {
		return Finding{}, false
	}
	return KnownHoles(said(ctx, runtimes[0], "--version"), packageOf(ctx, runtimes[0])), true
}

// said is what a program prints, or "" where it fails or takes too long.
func said(ctx context.Context, program string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, versionTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = versionTime
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// packageOf finds the package that a runtime's file is of, one of Debian's kind or
// of Red Hat's: beside it, in /usr/local, may lie another of the same name. PATH may
// have a link to it, of which a package knows nothing.
func packageOf(ctx context.Context, runtime string) Package {
	file, err := filepath.EvalSymlinks(runtime)
	if err != nil {
		file = runtime
	}
	for _, listed := range listedAs(file) {
		if name := debianOwner(said(ctx, "dpkg-query", "-S", listed), listed); name != "" {
			p := said(ctx, "dpkg-query", "-W", "-f", "${Package} ${Version}", name)
			return Package{p, debianChangelog("/usr/share/doc/" + name + "/changelog.Debian.gz")}
		}
	}
	if p := said(ctx, "rpm", "-qf", file); p != "" {
		return Package{p, said(ctx, "rpm", "-qf", "--changelog", file)}
	}
	return Package{}
}

// listedAs are the paths under which dpkg may have a file on record. Where /sbin is a
// link to /usr/sbin, packages from before that still list /sbin/x, see dpkg-query(1)
// on -S.
func listedAs(file string) []string {
	paths := []string{file}
	short, below := strings.CutPrefix(file, "/usr")
	a, errA := os.Stat(file)
	b, errB := os.Stat(short)
	if below && errA == nil && errB == nil && os.SameFile(a, b) {
		paths = append(paths, short)
	}
	return paths
}

// debianOwner reads which package a file is of from what dpkg-query -S says: lines
// such as "runc: /usr/sbin/runc", and others of diversions, see dpkg-query(1).
func debianOwner(said, file string) string {
	for line := range strings.Lines(said) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), ": "+file); ok && !strings.Contains(name, " ") {
			name, _, _ = strings.Cut(name, ":") // its architecture
			return name
		}
	}
	return ""
}

// debianChangelog reads a changelog as Debian and Ubuntu install it, see its
// policy manual, section 12.7; "" where it was left out.
func debianChangelog(name string) string {
	file, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer file.Close()
	unpacked, err := gzip.NewReader(file)
	if err != nil {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(unpacked, changelogLimit))
	if err != nil {
		return ""
	}
	return string(text)
}

// Command kbuild-soak does to kbuild what hosts do to it: the power fails, a
// disk fills up, a process is killed. After each of these it asks of the next
// run what every run has to give: binaries that are those of a build from
// nothing, and exit status 0. It is what make soak runs.
//
// Runs are bounded and follow from a seed, which is printed: the same seed
// chooses the same commands and moments, though not the same interleaving.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// notTried is the exit status where nothing can be tried, as automake's tests have it.
const notTried = 77

// options are the flags.
type options struct {
	kbuild string
	seed   int64
	rounds int
	work   string
	old    bool // with the Go that judges by times
	cold   bool // each round begins without compiled objects
	keep   bool
	only   []string
}

// A part is one thing that is done to kbuild.
type part struct {
	name, what string
	rounds     int // unless told otherwise
	run        func(context.Context, *soak) error
}

var parts = []part{
	{"power", "the power fails at random moments", 40, runPower},
	{"kill", "kbuild is killed, or its worker", 40, runKill},
	{"signal", "kbuild is told to end", 40, runSignal},
	{"failing", "the file system fails below a run", 20, runFailing},
	{"readonly", "the file system becomes read-only below a run", 20, runReadOnly},
	{"full", "the disk is full", 40, runFull},
	{"prune", "somebody removes images without names", 20, runPrune},
	{"corrupt", "a file of what is kept is spoilt", 40, runCorrupt},
	{"cache", "something happens to one of two machines that share what they compile", 160, runCache},
	{"clock", "the clock is wrong during a run", 20, runClock},
	{"crowd", "several users are at work at once", 20, runCrowd},
}

func main() {
	var o options
	flag.StringVar(&o.kbuild, "kbuild", "bin/kbuild", "the kbuild `program`")
	flag.Int64Var(&o.seed, "seed", 1, "`number` that decides what is done when")
	flag.IntVar(&o.rounds, "rounds", 0, "`number` of rounds of each part (default: each part's own)")
	flag.StringVar(&o.work, "work", "",
		"`directory` to make and work in (default: one below TMPDIR or /var/tmp); removed at the end")
	flag.BoolVar(&o.old, "old", false,
		"compile with Go 1.4, from the module proxy, which judges by times, instead of the go command's")
	flag.BoolVar(&o.cold, "cold", false,
		"begin each round with nothing compiled, not with what another tree of the same level of trust compiled")
	flag.BoolVar(&o.keep, "keep", false, "stop at the first fault, and keep the directory")
	flag.Func("only", "commands that something happens to, `names` separated by commas (default: all)",
		func(s string) error {
			o.only = strings.Split(s, ",")
			return nil
		})
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: kbuild-soak [FLAG...] [PART...]\n\nparts (default: all):")
		for _, p := range parts {
			fmt.Fprintf(os.Stderr, "  %-12s %s\n", p.name, p.what)
		}
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	status, err := run(ctx, o, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "kbuild-soak:", err)
		status = 1
	}
	if errors.Is(err, errNoDisk) {
		status = notTried
	}
	stop()
	os.Exit(status)
}

// inMounts is set in the environment of the process that has a mount namespace
// of its own.
const inMounts = "KBUILD_SOAK_MOUNTS"

func run(ctx context.Context, o options, names []string) (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("only root can mount what is broken here")
	}
	if os.Getenv(inMounts) == "" {
		return again(ctx)
	}
	chosen := parts
	if len(names) > 0 {
		chosen = nil
		for _, name := range names {
			i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
			if i < 0 {
				return 0, fmt.Errorf("%q: no such part; see -help", name)
			}
			chosen = append(chosen, parts[i])
		}
	}
	s, err := open(ctx, o)
	if err != nil {
		return 0, err
	}
	defer func() {
		if o.keep && s.faults > 0 {
			fmt.Printf("kept: %s\n", s.dir)
			return
		}
		if err := s.remove(); err != nil {
			fmt.Fprintln(os.Stderr, "kbuild-soak:", err)
		}
	}()
	for _, p := range chosen {
		s.part, s.rounds = p.name, p.rounds
		if o.rounds > 0 {
			s.rounds = o.rounds
		}
		start := time.Now()
		fmt.Printf("%s: %s; seed %d, %d rounds\n", p.name, p.what, o.seed, s.rounds)
		if err := p.run(ctx, s); err != nil {
			return 0, fmt.Errorf("%s, seed %d: %w", p.name, o.seed, err)
		}
		fmt.Printf("%s: %s in %.0f s\n", p.name, s.tally(), time.Since(start).Seconds())
	}
	if s.faults > 0 {
		return 1, nil
	}
	return 0, nil
}

// again starts this program in a mount namespace of its own, so that what it
// mounts ends with it, however it ends.
func again(ctx context.Context) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inMounts+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS, Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("enter a mount namespace: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(unix.SIGTERM) }) //nolint:errcheck // it may have ended
	defer stop()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// workDirectory makes the directory that everything happens in.
func workDirectory(asked string) (string, error) {
	if asked != "" {
		dir, err := filepath.Abs(asked)
		if err != nil {
			return "", err
		}
		return dir, os.Mkdir(dir, 0o755)
	}
	parent := os.Getenv("TMPDIR")
	if parent == "" {
		parent = "/var/tmp" // images are large
	}
	return os.MkdirTemp(parent, "kbuild-soak-")
}

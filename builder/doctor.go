package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
	"golang.org/x/sys/unix"
)

// CheckHost looks at what a build needs of this host, before it changes anything, and
// at what is known of the container runtime that is installed.
func CheckHost(ctx context.Context, isolation container.Isolation) []preflight.Finding {
	host := preflight.ThisHost(isolation)
	findings := preflight.Run(host)
	if holes, ok := preflight.InstalledHoles(ctx, host); ok {
		findings = append(findings, holes)
	}
	return findings
}

// Doctor tries what a build needs of this host, without a tree or an image, and
// changes nothing. The status is 1 where a build would fail.
func Doctor(ctx context.Context, req DoctorRequest, report Reporter) (status int, err error) {
	host := preflight.ThisHost(req.Isolation)
	host.Cache, host.Store = req.CacheDir, func() (string, error) { return storage.Root(req.Store) }
	asked := make(chan []preflight.Finding, 1)
	go func() { asked <- reached(ctx, req, voice{report}) }()
	forget, err := ownRuntimeDir(&host)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, forget()) }()
	// To find a file's package, dpkg reads the lists of all: a third of the time, in
	// which containers are tried.
	holes := make(chan []preflight.Finding, 1)
	go func() {
		var known []preflight.Finding
		if f, ok := preflight.InstalledHoles(ctx, host); ok {
			known = append(known, f)
		}
		holes <- known
	}()
	found, settings := preflight.Examine(host), mirrorSettings(req, voice{report})
	var tried []preflight.Finding
	if preflight.Err(preflight.Entry(host)) == nil {
		if tried, err = tryInside(ctx, req, host, report); err != nil {
			return 0, err
		}
	}
	found = slices.Concat(found, <-holes, []preflight.Finding{settings}, tried, <-asked)
	if preflight.Worst(found) == preflight.Fatal {
		status = 1
	}
	return status, report.Findings(found)
}

// ownRuntimeDir gives this process and the worker a directory for what lives as
// long as a session where the user has none: the libraries would make one that
// stays. What is looked at is still the user's.
func ownRuntimeDir(host *preflight.Host) (forget func() error, err error) {
	const variable = "XDG_RUNTIME_DIR"
	users := os.Getenv(variable)
	if users != "" && namespace.RuntimeDirProblem(users) == "" {
		return func() error { return nil }, nil
	}
	dir, err := doctorDir("/tmp")
	if err != nil {
		return nil, &TempDirError{err}
	}
	host.Getenv = func(name string) string {
		if name == variable {
			return users
		}
		return os.Getenv(name)
	}
	return func() error { return os.RemoveAll(dir) }, os.Setenv(variable, dir)
}

// tryInside lets a worker try what only the namespaces show.
func tryInside(
	ctx context.Context, req DoctorRequest, host preflight.Host, report Reporter,
) (found []preflight.Finding, err error) {
	fd, err := unix.MemfdCreate("doctor", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	result := os.NewFile(uintptr(fd), "doctor")
	defer result.Close()
	order := doctorOrder{DoctorRequest: req}
	if root, err := host.Store(); err == nil {
		order.Dir = existing(root)
	}
	i := begin(ctx, report, namespace.Options{}, result)
	defer i.Close()
	if _, err := i.do(ctx, "doctor", order); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(io.NewSectionReader(result, 0, maxSaid)).Decode(&found); err != nil {
		return nil, fmt.Errorf("read what was tried: %w", err)
	}
	return found, nil
}

// existing is a directory, or the nearest above it that is there.
func existing(dir string) string {
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// mirrorSettings looks at the files that say where images come from.
func mirrorSettings(req DoctorRequest, v voice) preflight.Finding {
	f := preflight.Finding{Check: "policy and registries", Found: "can be read"}
	if err := mirror.CheckSettings(req.Mirrors.Sources, req.Mirrors.options(v, StepCheck)); err != nil {
		f.Severity, f.Found = preflight.Fatal, err.Error()
		var bad *mirror.ConfigError
		if errors.As(err, &bad) {
			f.Fix = fmt.Sprintf("man 5 %s", bad.File)
		}
	}
	return f
}

// reachTime is what a registry has to answer.
const reachTime = 1500 * time.Millisecond

// reached asks the mirrors, all at once.
func reached(ctx context.Context, req DoctorRequest, v voice) []preflight.Finding {
	if !req.Network {
		return nil
	}
	if req.Offline {
		return []preflight.Finding{{Check: "mirrors", Found: "not asked, as kbuild is offline"}}
	}
	// Files are no matter of the network.
	sources := slices.DeleteFunc(slices.Clone(req.Mirrors.Sources), func(s mirror.Source) bool { return !s.IsRegistry() })
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	list := make([]preflight.Finding, len(sources))
	var all sync.WaitGroup
	for i, source := range sources {
		all.Add(1)
		go func() {
			defer all.Done()
			f := preflight.Finding{Check: "mirror " + source.Text(), Found: "answers"}
			if err := mirror.Reach(ctx, source, req.Mirrors.options(v, StepCheck)); err != nil {
				f.Severity, f.Found = preflight.Warning, err.Error()
				f.Fix = "curl -v https://" + strings.SplitN(source.Text(), "/", 2)[0] + "/v2/"
			}
			list[i] = f
		}()
	}
	all.Wait()
	return list
}

// doctorDir makes a directory, where a build would have its own if it can.
func doctorDir(cache string) (dir string, err error) {
	for _, place := range []string{os.Getenv("TMPDIR"), existing(cache), "/tmp", "/var/tmp"} {
		if place == "" || namespace.CheckText(place) != nil { // containers are described in UTF-8
			continue
		}
		if dir, err = os.MkdirTemp(place, "kbuild-doctor-"); err == nil {
			return dir, nil
		}
	}
	return "", err
}

// trialTime is what a runtime has to start a container, so that all is said
// within two seconds.
const trialTime = time.Second

// doctorInside is the part of Doctor inside the namespaces, where containers are
// started.
func doctorInside(ctx context.Context, w *worker, o doctorOrder) (status int, err error) {
	if len(w.files) != 1 {
		return 0, fmt.Errorf("try the host: %d files came with the order, not 1", len(w.files))
	}
	dir, err := doctorDir(o.CacheDir)
	if err != nil {
		return 0, &TempDirError{err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	attempts, err := container.TryAll(ctx, dir, trialTime)
	if err != nil {
		return 0, err
	}
	host := preflight.ThisHost(o.Isolation)
	found := []preflight.Finding{host.TriedRuntimes(attempts)}
	if o.Dir != "" {
		found = append(found, host.TriedOverlay(storage.TryOverlay(o.Dir)))
	}
	additional, err := storage.CheckAdditional(o.Store)
	if err != nil {
		return 0, err
	}
	for _, s := range additional {
		found = append(found, host.TriedAdditional(s.Dir, s.Images, s.Err, s.Harmless))
	}
	return 0, json.NewEncoder(w.files[0]).Encode(found)
}

package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
)

// Doctor tries what a build needs of this host, without a tree or an image, and
// changes nothing. The status is 1 where a build would fail.
func Doctor(ctx context.Context, req DoctorRequest, report Reporter) (status int, err error) {
	host := preflight.ThisHost(req.Isolation)
	host.Places(req.Store.Root, req.CacheDir)
	asked := make(chan []preflight.Finding, 1)
	go func() { asked <- reached(ctx, req, voice{report}) }()
	found := preflight.Examine(host)
	found = append(found, mirrorSettings(req, voice{report}))
	found = append(found, <-asked...)
	if preflight.Err(preflight.Entry(host)) != nil {
		return doctorStatus(found), report.Findings(found)
	}
	forget, err := ownRuntimeDir()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, forget()) }()
	order := doctorOrder{DoctorRequest: req, Found: found, Dir: existing(host.Store)}
	i := begin(ctx, report, namespace.Options{})
	defer i.Close()
	return i.do(ctx, "doctor", order)
}

// ownRuntimeDir gives the worker a directory for what lives as long as a session
// where the user has none: the libraries would make one that stays.
func ownRuntimeDir() (forget func() error, err error) {
	const variable = "XDG_RUNTIME_DIR"
	if dir := os.Getenv(variable); dir != "" && namespace.RuntimeDirProblem(dir) == "" {
		return func() error { return nil }, nil
	}
	dir, err := doctorDir("/tmp")
	if err != nil {
		return nil, &TempDirError{err}
	}
	return func() error { return os.RemoveAll(dir) }, os.Setenv(variable, dir)
}

func doctorStatus(found []preflight.Finding) int {
	if preflight.Worst(found) == preflight.Fatal {
		return 1
	}
	return 0
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
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	list := make([]preflight.Finding, len(req.Mirrors.Sources))
	var all sync.WaitGroup
	for i, source := range req.Mirrors.Sources {
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
		if place == "" {
			continue
		}
		if dir, err = os.MkdirTemp(place, "kbuild-doctor-"); err == nil {
			return dir, nil
		}
	}
	return "", err
}

// doctorInside is the part of Doctor inside the namespaces, where containers are
// started.
func doctorInside(ctx context.Context, w *worker, o doctorOrder) (status int, err error) {
	dir, err := doctorDir(o.CacheDir)
	if err != nil {
		return 0, &TempDirError{err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	attempts, err := container.TryAll(ctx, dir)
	if err != nil {
		return 0, err
	}
	host := preflight.ThisHost(o.Isolation)
	found := append(o.Found, host.TriedRuntimes(attempts), host.TriedOverlay(storage.TryOverlay(o.Dir)))
	return doctorStatus(found), w.Findings(found)
}

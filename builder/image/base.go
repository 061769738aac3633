package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/containers/image/v5/docker/reference"
	securejoin "github.com/cyphar/filepath-securejoin"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/golang"
	"github.com/kbuild/kbuild/storage"
)

// Base is what an image holds that a compile needs.
type Base struct {
	ID string `json:"id"`
	// Version is the first line of the toolchain's VERSION file, such as
	// go1.4.3, or "" when the image has no Go.
	Version string `json:"version"`
	// GoRoot is the toolchain's directory in the image.
	GoRoot string `json:"goRoot"`
	// CgoStd is the directory, in the image, where a Go before 1.20 puts the
	// standard library it compiles for CGO_ENABLED=0 and -installsuffix cgo.
	CgoStd string `json:"cgoStd,omitempty"`
	// Tools are the names found in the image's PATH, of those looked for.
	Tools []string `json:"tools"`
	// Looked are the names that were looked for.
	Looked []string `json:"looked"`
}

// baseRecord is the key under which the store keeps a Base with its image.
const baseRecord = "base"

// A PlatformsError says that an image's Go compiles for fewer platforms than are
// wanted.
type PlatformsError struct {
	Name      reference.Named
	Version   string // of Go
	Platforms []kube.Platform
	// Wanted are those and the others that were asked for.
	Wanted []kube.Platform
	// Unknown are those of them that this Go cannot be made for.
	Unknown []kube.Platform
}

// Error implements error.
func (e *PlatformsError) Error() string {
	return fmt.Sprintf("%s has a %s that was not made for %s", e.Name, e.Version, kube.JoinPlatforms(e.Platforms, ", "))
}

// CheckPlatforms looks whether an image compiles for the platforms. A Go before 1.5
// needs for each of them what its make.bash makes with that GOOS and GOARCH: the
// compilers and the standard library (golang.org/doc/install-source of Go 1.4).
// What is missing is a [*PlatformsError].
func CheckPlatforms(store *storage.Store, name reference.Named, b Base, platforms []kube.Platform) error {
	release, ok := b.Go()
	if len(platforms) == 0 || !ok || !release.MakesPorts() {
		return nil
	}
	wrong := &PlatformsError{Name: name, Version: b.Version, Wanted: platforms}
	err := store.Mount(b.ID, func(root string) error {
		for _, p := range platforms {
			if !isDirectory(root, path.Join(b.GoRoot, "pkg", p.OS+"_"+p.Arch)) {
				wrong.Platforms = append(wrong.Platforms, p)
				if !release.HasPort(p.String()) {
					wrong.Unknown = append(wrong.Unknown, p)
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("inspect the base image: %w", err)
	}
	if wrong.Platforms != nil {
		return wrong
	}
	return nil
}

// LookInto finds the Go toolchain of an image and which of the tools it has.
// The finding is kept with the image, which never changes, so that the next
// look costs nothing.
func LookInto(store *storage.Store, img storage.Image, tools []string) (Base, error) {
	if data, err := store.Record(img.ID, baseRecord); err == nil {
		var known Base
		if json.Unmarshal(data, &known) == nil && containsAll(known.Looked, tools) {
			return known, nil
		}
	} else if !errors.Is(err, storage.ErrNotFound) {
		return Base{}, fmt.Errorf("inspect the base image: %w", err)
	}
	config, err := imageConfig(store, img.ID)
	if err != nil {
		return Base{}, fmt.Errorf("inspect the base image: %w", err)
	}
	base := Base{ID: img.ID, Looked: tools}
	err = store.Mount(img.ID, func(root string) error {
		if err := container.CheckRoot(root); err != nil {
			return err
		}
		base.look(root, config.Config.Env, config.Architecture)
		return nil
	})
	if err != nil {
		return Base{}, fmt.Errorf("inspect the base image: %w", err)
	}
	data, err := json.Marshal(base)
	if err != nil {
		return Base{}, fmt.Errorf("inspect the base image: %w", err)
	}
	// With an image of an additional store nothing is kept: the next look costs again.
	if err := store.SetRecord(img.ID, baseRecord, data); err != nil && !errors.Is(err, storage.ErrReadOnly) {
		return Base{}, fmt.Errorf("inspect the base image: %w", err)
	}
	return base, nil
}

func containsAll(have, want []string) bool {
	for _, w := range want {
		found := false
		for _, h := range have {
			found = found || h == w
		}
		if !found {
			return false
		}
	}
	return true
}

// versionLimit bounds a toolchain's VERSION, whose real one has two lines.
const versionLimit = 1 << 16

// look reads the mounted image. Links are resolved inside it, never out of it.
func (b *Base) look(root string, env []string, arch string) {
	search := filepath.SplitList(lookupEnv(env, "PATH"))
	if len(search) == 0 {
		search = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
	}
	for _, tool := range b.Looked {
		if findIn(root, search, tool) != "" {
			b.Tools = append(b.Tools, tool)
		}
	}
	candidates := []string{lookupEnv(env, "GOROOT")}
	if found := findIn(root, search, "go"); found != "" {
		candidates = append(candidates, path.Dir(path.Dir(found)))
	}
	for _, dir := range append(candidates, "/usr/local/go", "/usr/src/go", "/usr/lib/go") {
		if dir == "" {
			continue
		}
		// A foreign image may have a pipe, or gigabytes, there.
		data, err := container.ReadFile(root, path.Join(dir, "VERSION"), versionLimit)
		if err != nil {
			continue
		}
		first, _, _ := strings.Cut(string(data), "\n")
		b.Version, b.GoRoot = strings.TrimSpace(first), dir
		if v, ok := golang.ParseVersion(b.Version); ok && v.Major == 1 && v.Minor < 20 {
			if isDirectory(root, path.Join(dir, "pkg", "linux_"+arch)) {
				b.CgoStd = path.Join(dir, "pkg", "linux_"+arch+"_cgo")
			}
		}
		return
	}
}

// isDirectory reports whether a path of an image is a directory.
func isDirectory(root, name string) bool {
	resolved, err := securejoin.SecureJoin(root, name)
	if err != nil {
		return false
	}
	info, err := os.Stat(resolved)
	return err == nil && info.IsDir()
}

// findIn looks for an executable file in an image's PATH and returns its path
// inside the image, links resolved, or "".
func findIn(root string, search []string, name string) string {
	for _, dir := range search {
		file, err := securejoin.SecureJoin(root, path.Join(dir, name))
		if err != nil {
			continue
		}
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return "/" + strings.TrimPrefix(strings.TrimPrefix(file, root), "/")
		}
	}
	return ""
}

func lookupEnv(env []string, name string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// Go returns the toolchain's version, if the image has one that can be read.
func (b Base) Go() (golang.Release, bool) { return golang.ParseVersion(b.Version) }

// WrongBaseError says that an image is not what its name promises.
type WrongBaseError struct {
	Name   reference.Named
	Reason string
	// Missing are programs that it lacks.
	Missing []string
}

func (e *WrongBaseError) Error() string { return fmt.Sprintf("%s %s", e.Name, e.Reason) }

// Nameless returns the error for where another one around it has the name.
func (e *WrongBaseError) Nameless() error { return &nameless{e} }

type nameless struct{ wrong *WrongBaseError }

func (e *nameless) Error() string { return e.wrong.Reason }
func (e *nameless) Unwrap() error { return e.wrong }

// Check compares an image with the Go that its tree promises, if it does, and with
// the tools that the tree's scripts need. A different minor version of Go is an
// error, a different patch release only gives a note.
func (b Base) Check(name reference.Named, promised *kube.GoPromise, tools []string) (note string, err error) {
	has, ok := b.Go()
	switch {
	case b.Version == "":
		return "", &WrongBaseError{Name: name, Reason: "has no Go toolchain"}
	case !ok:
		return "", &WrongBaseError{Name: name, Reason: fmt.Sprintf("has a Go toolchain of unknown version %q", b.Version)}
	case promised == nil:
	case !has.SameLine(promised.Release):
		want := promised.Release
		reason := fmt.Sprintf("has %s, %s promises %d.%d", b.Version, promised.By, want.Major, want.Minor)
		return "", &WrongBaseError{Name: name, Reason: reason}
	case has != promised.Release && !promised.AnyPatch:
		note = fmt.Sprintf("%s has %s, %s promises %s: a different patch release, accepted",
			name, b.Version, promised.By, promised.Release)
	}
	var missing []string
	for _, tool := range tools {
		if !containsAll(b.Tools, []string{tool}) {
			missing = append(missing, tool)
		}
	}
	if len(missing) > 0 {
		reason := "has no " + strings.Join(missing, ", ") + ", which the tree's scripts run"
		return "", &WrongBaseError{Name: name, Reason: reason, Missing: missing}
	}
	return note, nil
}

// config is what kbuild reads of an image's configuration; OCI's and Docker's
// agree in these fields.
type config struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Config       struct {
		Env        []string          `json:"Env"`
		Labels     map[string]string `json:"Labels"`
		WorkingDir string            `json:"WorkingDir"`
		User       string            `json:"User"`
	} `json:"config"`
}

// byRoot reports whether the image's commands are root's: its user is none or
// root, with whichever group.
func (c config) byRoot() bool {
	user, _, _ := strings.Cut(c.Config.User, ":")
	return user == "" || user == "0" || user == "root"
}

func imageConfig(store *storage.Store, id string) (config, error) {
	data, err := store.Config(id)
	if err != nil {
		return config{}, err
	}
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return config{}, fmt.Errorf("configuration of image %s: %w", id, err)
	}
	return c, nil
}

// Labels returns those of an image.
func Labels(store *storage.Store, img storage.Image) (map[string]string, error) {
	config, err := imageConfig(store, img.ID)
	return config.Config.Labels, err
}

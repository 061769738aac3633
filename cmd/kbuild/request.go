package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/trust"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// A goal is how far a run goes, or what else the worker is to do.
type goal string

const (
	goalMirror     goal = "mirror"  // the base image is in the store
	goalImage      goal = "image"   // and the kube-build image
	goalBuild      goal = "build"   // and the tree's own command ran in it
	goalCompile    goal = "compile" // the last step alone
	goalRun        goal = "run"     // any command in the build container
	goalShell      goal = "shell"   // an interactive one
	goalImages     goal = "images"  // list images
	goalClean      goal = "clean"   // remove what belongs to the tree
	goalPrune      goal = "prune"   // remove what belongs to trees that are gone
	goalLock       goal = "lock"    // kbuild.lock is written
	goalLockCheck  goal = "lock --check"
	goalBundleSave goal = "bundle save"
	goalBundleLoad goal = "bundle load"
	goalRemove     goal = "remove" // remove directories of subordinate ids' files
)

// request is all a run needs to know, typed: what the flags say and what was
// found outside the user namespace, where git and the user's rights are what
// they seem. It crosses to the worker as JSON.
type request struct {
	Goal      goal
	Store     storage.Options
	Isolation container.Isolation
	Network   container.Network
	Mirror    mirrorFlags
	Quiet     bool
	Format    string // of lists: "" or json
	LogLevel  string
	Terminal  bool // stderr is one
	Paths     []string
	// Timings asks for a report of where the time went; Spans are the parts
	// before Sent, when the request was handed on.
	Timings bool
	Spans   []span
	Sent    time.Time
	// Isolated says that this worker has a network namespace of its own.
	Isolated bool

	// Offline says that no connection may be attempted.
	Offline bool
	Lock    mirror.Lock // what the tree's images have to be

	Bundle bundleRequest

	Tree       kube.Tree
	Tools      []string // the tree's scripts run them in the base image
	Version    kube.Version
	Sources    []byte // sources.Manifest, marshalled
	Dockerfile []byte
	Files      []image.ContextFile
	AsUpstream bool              // with the steps of the Dockerfile that need a network
	Programs   []string          // names of the targets; none is all
	Names      []string          // of the kube-build image
	Command    []string          // what runs in the container
	Flags      []string          // those of Command that are not targets
	Level      trust.Level       // of the tree
	RealRoot   string            // of the tree, without links
	StateDir   string            // kbuild's own, for this tree at this level
	CacheDir   string            // kbuild's own
	TempDir    string            // for files that live as long as the run
	Dirs       []objects.TreeDir // to be removed, of goalClean and goalPrune

	Cross crossRequest // of goalCross
}

// mirrorFlags are the flags that say where images come from.
type mirrorFlags struct {
	Sources   []string
	Authfile  string
	Creds     string
	CertDir   string
	TLSVerify *bool
	Platform  string
	Policy    string
	Force     bool
	Frozen    bool

	RegistriesConf string
	RegistriesDir  string
	RequireSigned  bool
	Retries        int // 0 is none
	RetryDelay     time.Duration
	Timeout        time.Duration
}

// cacheDir is where kbuild keeps what it can make again: below the private
// store where there is one, else the user's cache directory.
func cacheDir(store storage.Options) (string, error) {
	if store.Root != "" {
		dir, err := filepath.Abs(filepath.Join(store.Root, "kbuild"))
		if err != nil {
			return "", fmt.Errorf("private store: %w", err)
		}
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if me, e := user.Current(); err != nil && e == nil && me.HomeDir != "" {
		// cron and service managers may set no HOME.
		dir, err = filepath.Join(me.HomeDir, ".cache"), nil
	}
	if err != nil {
		return "", &hinted{fmt.Errorf("find the user's cache directory: %w", err), "set HOME or XDG_CACHE_HOME"}
	}
	return filepath.Join(dir, "kbuild"), nil
}

// treesDir holds the directories of all the user's trees.
func (r request) treesDir() string { return filepath.Join(r.CacheDir, "trees") }

// treeDir is that of the request's tree.
func (r request) treeDir() objects.TreeDir {
	return objects.TreeDir{Path: r.StateDir, Root: r.RealRoot}
}

// ownDirs sets the directories of kbuild's own for the request's tree, which has
// a level. Temporary files go below TMPDIR where that is set.
func (r *request) ownDirs() error {
	id, err := r.Level.TreeID(r.Tree.Root)
	if err != nil {
		return err
	}
	if r.RealRoot, err = filepath.EvalSymlinks(r.Tree.Root); err != nil {
		return fmt.Errorf("find the real path of the tree: %w", err)
	}
	r.StateDir = filepath.Join(r.treesDir(), id)
	r.TempDir = filepath.Join(r.StateDir, "tmp")
	if dir := os.Getenv("TMPDIR"); dir != "" {
		sum := sha256.Sum256([]byte(r.StateDir))
		r.TempDir = filepath.Join(dir, "kbuild-"+hex.EncodeToString(sum[:])[:16])
	}
	return nil
}

// hinted is an error with a line that says what the user should do.
type hinted struct {
	error
	hint string
}

func (e *hinted) Hint() string  { return e.hint }
func (e *hinted) Unwrap() error { return e.error }

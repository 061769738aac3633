package builder

import (
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/cross/toolchain"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/trust"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// A request is what the user asks of a verb. A plan is what was found out about
// the tree as the user, with git and the user's rights. An order is both, and
// crosses to the worker as JSON: everything in it is exported, and what has a
// grammar of its own was parsed before.

// Settings are what every verb is told.
type Settings struct {
	Store     storage.Options
	CacheDir  string // kbuild's own; it need not exist
	Isolation container.Isolation
	// Offline says that no connection may be attempted.
	Offline bool
	// DryRun says that nothing is to be done, only told.
	DryRun bool
	// Level of trust that the user named; the zero value leaves it to a CI
	// system's variables and to the tree.
	Level trust.Level
}

func (s Settings) settings() Settings { return s }

// Reporting is what the worker's [Reporter] is made of.
type Reporting struct {
	Quiet    bool   // nothing but results and errors
	Terminal bool   // there is one that shows progress
	Format   string // of lists: "" or json
	LogLevel string // of the libraries
	// Timings asks for where the time went. Parts is what was marked before
	// Sent, when the order was handed on.
	Timings bool
	Parts   []Part
	Sent    time.Time
}

// Mark ends a part of a run, and begins the next.
func (r *Reporting) Mark(part string) {
	now := time.Now()
	r.Parts, r.Sent = append(r.Parts, Part{part, now.Sub(r.Sent)}), now
}

// Handover is what another process's Reporter is made of.
func (r *Reporting) Handover() Reporting { return *r }

// A Part is a part of a run and the time it took.
type Part struct {
	Name string
	Took time.Duration
}

// TreeRequest says which tree, and as what it is to be built.
type TreeRequest struct {
	Dir        string // "": the one around the working directory
	GitVersion string // that the binaries report; "": what the tree says
	// UnknownVersion allows binaries that report a placeholder.
	UnknownVersion bool
	Output         string // the directory they go to; "": where the tree says
	// Variables of the environment, NAME or NAME=VALUE, are given to the tree's
	// scripts besides those that upstream's build reads.
	Variables []string
}

// Mirrors say where images come from, and which are taken.
type Mirrors struct {
	Sources []mirror.Source // in order; none: where it was published
	// Credentials and certificates, see [mirror.Options].
	Authfile, Creds, CertDir string
	TLSVerify                *bool
	Platform                 mirror.Platform
	Policy                   string
	RegistriesConf           string
	RegistriesDir            string
	RequireSigned            bool
	Retries                  int // 0 is none
	RetryDelay, Timeout      time.Duration

	Force  bool // use a base image that failed its check
	Frozen bool // refuse images without an entry in the lock
	// LockFile is the lock, absolute; "": the one in the tree.
	LockFile string
}

// DoctorRequest asks what the host is good for.
type DoctorRequest struct {
	Settings
	Mirrors Mirrors
	Network bool // ask the mirrors, too
}

// Request asks for a build, or for some of its steps.
type Request struct {
	Settings
	Tree    TreeRequest
	Mirrors Mirrors
	Caches  Caches
	// From and Until are the first and the last step after check that are
	// done: mirror, image, compile. What comes before From was done earlier.
	From, Until Step
	Work        Work
	Network     container.Network // the container's
	// AsUpstream runs those steps of the tree's Dockerfile that need a network.
	AsUpstream bool
}

// does is whether a step is done.
func (r Request) does(s Step) bool {
	return order[r.From] <= order[s] && order[s] <= order[r.Until]
}

// order is that of the steps that can be asked for.
var order = map[Step]int{StepMirror: 1, StepImage: 2, StepCompile: 3}

// Kind says what kind of command runs in the container.
type Kind string

// The kinds.
const (
	OwnCommand   Kind = ""        // the tree's own, which compiles targets
	OtherCommand Kind = "command" // any other
	Shell        Kind = "shell"   // an interactive one
)

// Work says what runs in the container.
type Work struct {
	Kind      Kind
	Targets   []string        // of the tree's own command; none: all
	Arguments []string        // further ones for it
	Platforms []kube.Platform // to compile for; none: the container's
	Command   []string        // the other command
}

// step is the one that its lines are of.
func (w Work) step() Step {
	switch w.Kind {
	case OtherCommand:
		return StepRun
	case Shell:
		return StepShell
	}
	return StepCompile
}

// LockRequest asks for the tree's lock to be written, or compared with the images.
type LockRequest struct {
	Settings
	Tree    TreeRequest
	Mirrors Mirrors
	Check   bool
}

// SaveRequest asks for a bundle of what the tree's build needs.
type SaveRequest struct {
	Settings
	Tree    TreeRequest
	Mirrors Mirrors
	Network container.Network
	Kbuild  string // the version of this kbuild
	File    string // absolute
	Sources bool   // the tree's sources go into it
	// Cache puts into it what is kept of the tree's builds.
	Cache bool
	// Prove builds the targets from the bundle, before it gets its name.
	Prove bool
	Work  Work
}

// LoadRequest asks for the images of a bundle to be loaded into the store.
type LoadRequest struct {
	Settings
	Mirrors Mirrors
	File    string // absolute
}

// CrossRequest asks for the base image to be made here.
type CrossRequest struct {
	Settings
	Tree    TreeRequest
	Mirrors Mirrors
	// Rootfs is an archive of a root file system to make it of; "": the tree's
	// own Dockerfile is run.
	Rootfs string
	// Go is a release, a directory or a file; "": the release that the tree's
	// tag promises. Sum is what its hash has to be, or a go.sum file.
	Go, Sum string
	// For are platforms that its Go is made for besides its own, if it has to be.
	For []kube.Platform
	// Push is where the image is put, too.
	Push []mirror.Source
}

// ImagesRequest asks for the images that kbuild pulled or made.
type ImagesRequest struct{ Settings }

// CleanRequest asks for all that belongs to a tree to be removed.
type CleanRequest struct {
	Settings
	Tree TreeRequest
}

// PruneRequest asks for what belongs to trees that are gone to be removed.
type PruneRequest struct{ Settings }

// FsckRequest asks for everything that is kept to be checked.
type FsckRequest struct {
	Settings
	Repair bool // what is wrong is removed
}

// RemoveRequest asks for directories to be removed in which files of subordinate
// ids lie.
type RemoveRequest struct {
	Settings
	Paths []string // absolute
}

// A Name is the full name of an image, which crosses as text. It is no
// reference.Named itself: whether one of these has a tag is asked of its type.
type Name struct{ Ref reference.Named }

func (n Name) String() string { return n.Ref.String() }

// MarshalText implements encoding.TextMarshaler.
func (n Name) MarshalText() ([]byte, error) {
	if n.Ref == nil {
		return nil, nil
	}
	return []byte(n.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Name) UnmarshalText(text []byte) (err error) {
	n.Ref = nil
	if len(text) > 0 {
		n.Ref, err = reference.ParseNormalizedNamed(string(text))
	}
	return err
}

// TreePlan is what is known of a tree when it was opened.
type TreePlan struct {
	Tree kube.Tree
	// Base is the name of the base image in the store. Needed are the names of
	// the images that come from somewhere else, if the request is about them: the
	// same, or what the base image is made of.
	Base   Name
	Needed []Name
	Lock   mirror.Lock // what they have to be
	// LockFile is where that is read from, absolute. It need not exist.
	LockFile string
	Level    trust.Level // of trust, of the tree
	// CacheLevels are those whose caches are read, the tree's own first.
	CacheLevels []trust.Level
	// RealRoot is the tree's root without links. StateDir is kbuild's own for this
	// tree at this level; TempDir is for files that live as long as the run.
	RealRoot, StateDir, TempDir string
}

// Plan is what the check step finds out. A build that ends with the mirror step
// needs no more than the [TreePlan].
type Plan struct {
	TreePlan
	Version    kube.Version
	Date       kube.BuildDate // that the binaries report; zero: that of the build, or the user's
	Unknown    string         // why there is no version
	Sources    sources.Manifest
	Dockerfile []byte              // of the build image, as filled
	Files      []image.ContextFile // of the build context
	Names      []Name              // of the build image, the tree's own last
	Command    []string            // what runs in the container
	Programs   []string            // names of the targets; none is all
	Flags      []string            // those of Command that are not targets
	Platforms  []kube.Platform     // to compile for; none: the container's
}

// What crosses to the worker, one value a verb; of verbs that need no plan it
// is the request.
type (
	buildOrder struct {
		Request
		Plan Plan
	}
	doctorOrder struct {
		DoctorRequest
		Dir string // where the store will be, or what is above it; "" is not known
	}
	lockOrder struct {
		LockRequest
		Plan TreePlan
	}
	saveOrder struct {
		SaveRequest
		Plan Plan
		Part string // path of the file that is written
	}
	verifyOrder struct {
		Request
		Plan  Plan
		Cache CacheRequest
	}
	crossOrder struct {
		CrossRequest
		Plan      TreePlan
		Toolchain toolchain.Toolchain
		Outfit    kube.CrossOutfit
		Proxies   []string
	}
	cleanOrder struct {
		CleanRequest
		Plan TreePlan
		Dirs []objects.TreeDir
	}
	pruneOrder struct {
		PruneRequest
		Dirs []objects.TreeDir
	}
)

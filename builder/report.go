package builder

import (
	"fmt"
	"io"
	"time"

	"github.com/kbuild/kbuild/builder/output"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/kbuild/kbuild/mirror"
)

// A Step is what a line is about: one of the four steps of a build, or a verb.
type Step string

// The steps.
const (
	StepCheck   Step = "check"
	StepMirror  Step = "mirror"
	StepImage   Step = "image"
	StepCompile Step = "compile"
	StepRun     Step = "run"   // compile's place, with another command
	StepShell   Step = "shell" // the same, with an interactive one
	StepLock    Step = "lock"
	StepBundle  Step = "bundle"
	StepProve   Step = "prove"
	StepCross   Step = "cross"
	StepPush    Step = "push"
	StepClean   Step = "clean"
	StepPrune   Step = "prune"
	StepFsck    Step = "fsck"
	StepGoPath  Step = "gopath"
	StepCache   Step = "cache"
)

// A Reporter is the one way a step speaks. There are two in a run, that of the
// user's process and that of the worker, which is made of what the first says in
// Handover.
type Reporter interface {
	// Line tells what a step did, or that it had nothing to do.
	Line(Line)
	// Published tells what became of the files a command left.
	Published(Published)
	// Images shows a list of images.
	Images([]ListedImage) error
	// Findings shows what was found of the host.
	Findings([]preflight.Finding) error
	// Faults shows what of the things that are kept is wrong, or was.
	Faults([]Fault) error
	// Progress is where the progress of a copy is drawn, nil for nowhere.
	Progress() io.Writer
	// Log is where the libraries and commands of the image step print, nil for
	// nowhere.
	Log() io.Writer
	// Mark ends a part of the run under a name, and begins the next; Timings
	// tells them, if they are to be told.
	Mark(part string)
	Timings()
	// Handover is what another process's Reporter is made of.
	Handover() Reporting
	// Failed tells why the worker failed, and returns the exit status for it.
	Failed(error) (status int)
}

// A Line is what a step says in one line.
type Line struct {
	Step    Step
	Text    string
	Took    time.Duration // 0: nobody asked
	Warning bool          // the run goes on, and somebody should know
	About   Notice        // what the user can do something about, or nil
}

// A Notice is what a line is about that the user can do something about. The
// Reporter knows what, as it does of errors: it is a type, and names no flag.
type Notice interface{ notice() }

// A Withheld notice says that the tree's scripts ask for variables of the
// environment that they are not given.
type Withheld struct{ Names []string }

// A NoVersion notice says that the binaries will report no version, or a
// placeholder.
type NoVersion struct{}

// A NotPinned notice says that no lock holds the image that was pulled.
type NotPinned struct{}

// A LockInTree notice says that a lock was written into the tree.
type LockInTree struct{}

// An InStore notice says that kube-cross is in the store, and is not made anew.
type InStore struct{}

// A LeftOut notice says that steps of a Dockerfile that need a network were left
// out.
type LeftOut struct{}

// A Pushed notice says where an image is now that others can pull.
type Pushed struct{ To mirror.Source }

// A NotGenerated notice says that a tree lacks files that a compile generates.
type NotGenerated struct{}

// A Damaged notice says that something that is kept is wrong, and still there.
type Damaged struct{}

func (Damaged) notice()      {}
func (Withheld) notice()     {}
func (NoVersion) notice()    {}
func (NotGenerated) notice() {}
func (NotPinned) notice()    {}
func (LockInTree) notice()   {}
func (InStore) notice()      {}
func (LeftOut) notice()      {}
func (Pushed) notice()       {}

// Published is what became of the files that a command left in the output
// directories.
type Published struct {
	Step  Step
	Own   bool     // the tree's own command ran, for targets
	Root  string   // of the tree
	Dir   string   // the first output directory
	Asked []string // names of the programs that were asked for
	Files []output.PublishedFile
	Took  time.Duration
}

// voice is a Reporter with the forms in which steps use it.
type voice struct{ Reporter }

func (v voice) say(step Step, format string, args ...any) {
	v.Line(Line{Step: step, Text: fmt.Sprintf(format, args...)})
}

func (v voice) warn(step Step, format string, args ...any) {
	v.Line(Line{Step: step, Text: fmt.Sprintf(format, args...), Warning: true})
}

// warnOf is warn about what the user can do something about.
func (v voice) warnOf(about Notice, step Step, format string, args ...any) {
	v.Line(Line{Step: step, Text: fmt.Sprintf(format, args...), Warning: true, About: about})
}

// done says what a step did that began at start.
func (v voice) done(step Step, start time.Time, format string, args ...any) {
	v.Line(Line{Step: step, Text: fmt.Sprintf(format, args...), Took: time.Since(start)})
}

// log is say of one step, as libraries want it.
func (v voice) log(step Step) func(format string, args ...any) {
	return func(format string, args ...any) { v.say(step, format, args...) }
}

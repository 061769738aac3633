package builder

import (
	"fmt"
	"io"
	"time"

	"github.com/kbuild/kbuild/builder/output"
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
}

// Published is what became of the files that a command left in the output
// directories.
type Published struct {
	Step  Step
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

// done says what a step did that began at start.
func (v voice) done(step Step, start time.Time, format string, args ...any) {
	v.Line(Line{Step: step, Text: fmt.Sprintf(format, args...), Took: time.Since(start)})
}

// log is say of one step, as libraries want it.
func (v voice) log(step Step) func(format string, args ...any) {
	return func(format string, args ...any) { v.say(step, format, args...) }
}

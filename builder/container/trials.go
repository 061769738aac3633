package container

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/namespace"
)

// A trial is what came of starting a container with a runtime. It holds until
// the next boot, for this file of the runtime, and in these surroundings: in a
// container that shares the user's directories with its host another answer
// may be right.
type trial struct {
	Boot, Surroundings, Runtime string
	Time                        time.Time
	Size                        int64
	// Answer says why no container started; "" that one did.
	Answer string
}

func trialOf(runtime string) (trial, error) {
	info, err := os.Stat(runtime)
	if err != nil {
		return trial{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return trial{}, err
	}
	return trial{
		Boot: strings.TrimSpace(string(boot)), Surroundings: namespace.Surroundings(),
		Runtime: runtime, Time: info.ModTime(), Size: info.Size(),
	}, nil
}

func (t trial) same(other trial) bool {
	return t.Boot == other.Boot && t.Surroundings == other.Surroundings && t.Runtime == other.Runtime &&
		t.Size == other.Size && t.Time.Equal(other.Time)
}

// trials are those remembered, the newest last.
type trials []trial

// maxTrials bounds them: every container is other surroundings.
const maxTrials = 16

func trialsFile(cache string) string { return filepath.Join(cache, "runtime.json") }

// readTrials reads the trials kept in a cache directory. What cannot be read is
// found out again.
func readTrials(cache string) trials {
	var list trials
	if err := files.ReadJSON(trialsFile(cache), &list); err != nil {
		return nil
	}
	return list
}

func (list trials) find(t trial) (trial, bool) {
	for _, known := range list {
		if known.same(t) {
			return known, true
		}
	}
	return trial{}, false
}

// forget removes what is kept of one like it.
func (list trials) forget(cache string, t trial) error {
	return files.WriteJSON(trialsFile(cache), slices.DeleteFunc(list, t.same))
}

// Recheck tries the runtime once more, if it was chosen since it had started a
// container here before: more may have changed than what a trial is kept by, such
// as the cgroups. One that no longer starts any is forgotten, and the answer says
// why. It is "" where nothing was found out.
func (h Host) Recheck(ctx context.Context) (answer string, err error) {
	if h.Kept == "" {
		return "", nil
	}
	err = Try(ctx, h, Patience)
	var file *fs.PathError
	if err == nil || ctx.Err() != nil || errors.As(err, &file) { // it is not the runtime that failed
		return "", ctx.Err()
	}
	t, errTrial := trialOf(h.Runtime)
	if errTrial == nil {
		errTrial = readTrials(h.Kept).forget(h.Kept, t)
	}
	if errTrial != nil {
		return "", fmt.Errorf("forget the runtime: %w", errTrial)
	}
	return err.Error(), nil
}

// keep adds a trial in the place of one like it.
func (list *trials) keep(cache string, t trial) error {
	kept := trials{}
	for _, known := range *list {
		if known.Boot == t.Boot && !known.same(t) {
			kept = append(kept, known)
		}
	}
	kept = append(kept, t)
	*list = kept[max(0, len(kept)-maxTrials):]
	return files.WriteJSON(trialsFile(cache), *list)
}

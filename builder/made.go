package builder

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kbuild/kbuild/builder/output"
)

// missing says that the tree's own command ended well without leaving what was
// asked for.
func (c *compilation) missing(made []output.PublishedFile) error {
	if !c.own() {
		return nil
	}
	var without []string
	for _, program := range c.Plan.Programs {
		if !slices.ContainsFunc(made, func(f output.PublishedFile) bool {
			return strings.TrimSuffix(filepath.Base(f.Path), ".exe") == program
		}) {
			without = append(without, program)
		}
	}
	if len(without) == 0 && len(made) > 0 {
		return nil
	}
	return &NothingMadeError{Command: c.Plan.Command, Programs: without}
}

// leftOut tells which files do not leave the container.
func (v voice) leftOut(step Step, names []string) {
	const most = 3
	if len(names) == 0 {
		return
	}
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
	}
	quoted := make([]string, min(most, len(names)))
	for i := range quoted {
		quoted[i] = strconv.Quote(names[i])
	}
	v.warn(step, "left in the container, for their names: %s%s", strings.Join(quoted, ", "), more)
}

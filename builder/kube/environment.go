package kube

import (
	"context"

	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// variables returns those of the scripts that build/common.sh reads.
func (m marks) variables() (*shell.Variables, error) {
	scripts := []shell.Script{m.common}
	for _, name := range []string{golangFile, "hack/lib/init.sh", "hack/lib/logging.sh", "cluster/lib/logging.sh"} {
		s, err := shell.Read(m.files, name)
		if isMissing(err) {
			continue // not every age has each
		}
		if err != nil {
			return nil, sources.Readable(m.files.Path(), err)
		}
		scripts = append(scripts, s)
	}
	return shell.NewVariables(m.files, m.given.lookup, scripts...), nil
}

// containerEnvironment returns the variables that the tree's own function passes to
// its container with --env, as NAME=value, in its order: those that the tree's
// age knows, with the values it would give them. kbuild places the version file
// itself, and says where it is.
func containerEnvironment(ctx context.Context, v *shell.Variables, common shell.Script) ([]string, error) {
	body, err := common.Function("kube::build::run_build_command_ex")
	if err != nil {
		if body, err = common.Function("kube::build::run_build_command"); err != nil {
			return nil, err
		}
	}
	return v.Environment(ctx, body, versionFileVariable)
}

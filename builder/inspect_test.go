package builder

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/kbuild/kbuild/builder/kube/kubetest"
)

// A tree that is copied with rsync shows by which rules, and its targets are listed
// even where its version cannot be read.
func TestInspect(t *testing.T) {
	root := filepath.Join(t.TempDir(), "k")
	if err := kubetest.Write("1.20", root, ""); err != nil {
		t.Fatal(err)
	}
	req := Request{
		Tree: TreeRequest{Dir: root}, From: StepMirror, Until: StepCompile, Work: Work{Targets: []string{"kubelet"}},
	}
	i, err := Inspect(t.Context(), req, &heard{})
	if err != nil {
		t.Fatal(err)
	}
	if i.Recipe != "sync" || i.Version.GitVersion != "" ||
		!slices.Contains(i.SourceFilter, "- /_output/") || len(i.CopyBack) == 0 ||
		!slices.Contains(i.Command, "WHAT=cmd/kubelet") || len(i.Outputs) != 1 ||
		i.Outputs[0].Host != filepath.Join(root, "_output/dockerized/bin") {
		t.Errorf("inspected %+v", i)
	}

	t.Setenv("KUBE_GIT_VERSION_FILE", filepath.Join(root, "nowhere"))
	if _, err := Inspect(t.Context(), req, &heard{}); err == nil {
		t.Error("a version file that is not there is inspected")
	}
	targets, err := Targets(t.Context(), req, &heard{})
	if err != nil || !slices.Contains(targets, "cmd/kubelet") || !slices.IsSorted(targets) ||
		len(slices.Compact(slices.Clone(targets))) != len(targets) {
		t.Errorf("targets %q, %v", targets, err)
	}
	req.Work.Targets = []string{"nothing"}
	if _, err := Targets(t.Context(), req, &heard{}); err == nil {
		t.Error("targets are listed for one that there is not")
	}
}

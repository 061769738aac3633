package trust

import (
	"strings"
	"testing"
)

// A request reads what its base branch left, and nothing says that it is another's.
func TestBase(t *testing.T) {
	const (
		github = "CI=true GITHUB_REPOSITORY=o/r "
		gitlab = "CI=true CI_PROJECT_PATH=g/p "
	)
	for _, c := range []struct{ variables, name string }{
		{"", ""},
		{"GITHUB_REPOSITORY=o/r GITHUB_BASE_REF=main", ""},
		{github, ""},
		{github + "GITHUB_BASE_REF=main", "ci:o/r:refs/heads/main"},
		{github + "GITHUB_BASE_REF=a:b", ""},
		{github + "GITHUB_BASE_REF=main CI_PROJECT_PATH=g/p", ""},
		{gitlab + "CI_MERGE_REQUEST_TARGET_BRANCH_NAME=main", ""},
		{gitlab + "CI_MERGE_REQUEST_IID=5 CI_MERGE_REQUEST_TARGET_BRANCH_NAME=main", ""},
		{gitlab + "CI_MERGE_REQUEST_IID=5 CI_MERGE_REQUEST_PROJECT_PATH=g/p CI_MERGE_REQUEST_TARGET_BRANCH_NAME=main",
			"ci:g/p:main"},
		{gitlab + "CI_EXTERNAL_PULL_REQUEST_IID=5 CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_NAME=main", "ci:g/p:main"},
	} {
		got, ok := Base(environment(c.variables))
		if ok != (c.name != "") || got.Name != c.name || got.Key != c.name {
			t.Errorf("%s: %+v, %v", c.variables, got, ok)
		}
	}
}

func environment(variables string) func(string) string {
	values := map[string]string{}
	for _, v := range strings.Fields(variables) {
		name, value, _ := strings.Cut(v, "=")
		values[name] = value
	}
	return func(name string) string { return values[name] }
}

// The branch that a request reads from is the level that the branch itself has.
func TestBaseIsTheBranch(t *testing.T) {
	for base, branch := range map[string]string{
		"CI=1 GITHUB_REPOSITORY=o/r GITHUB_REF=refs/pull/7/merge GITHUB_BASE_REF=main": "CI=1 GITHUB_REPOSITORY=o/r " +
			"GITHUB_REF=refs/heads/main GITHUB_EVENT_NAME=push",
		"CI=1 CI_PROJECT_PATH=fork/p CI_MERGE_REQUEST_IID=1 CI_MERGE_REQUEST_PROJECT_PATH=g/p " +
			"CI_MERGE_REQUEST_TARGET_BRANCH_NAME=main": "CI=1 CI_PROJECT_PATH=g/p CI_COMMIT_REF_NAME=main",
	} {
		read, ok := Base(environment(base))
		if wrote := ofCI(Level{Key: "tree /own"}, environment(branch)); !ok || read != wrote {
			t.Errorf("%s reads %+v, and %+v was written", base, read, wrote)
		}
		if own := ofCI(Level{Key: "tree /own"}, environment(base)); own.CacheID() == read.CacheID() {
			t.Errorf("%s writes what its base reads", base)
		}
	}
}

func TestCacheID(t *testing.T) {
	named, err := Parse(commonID)
	if err != nil {
		t.Fatal(err)
	}
	tree := Level{Key: "tree /k"}
	if tree.CacheID() != commonID || named.CacheID() == commonID || named.CacheID() != named.ID() {
		t.Errorf("%s, %s", tree.CacheID(), named.CacheID())
	}
	if run := alone(tree, "o/r", "run/1-1"); !run.Alone() || run.CacheID() == commonID || tree.Alone() {
		t.Errorf("%+v", run)
	}
}

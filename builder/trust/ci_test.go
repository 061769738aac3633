package trust

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Variables of CI systems tell levels apart, and never make one higher.
func TestOfCI(t *testing.T) {
	dir := t.TempDir()
	event := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "GITHUB_EVENT_PATH=" + file
	}
	pull7 := event("pull7", `{"pull_request": {"number": 7}}`)
	fork := event("fork",
		`{"workflow_run": {"event": "pull_request", "head_branch": "main", "head_repository": {"full_name": "x/r"}}}`)
	github := "CI=true GITHUB_RUN_ID=1 GITHUB_REPOSITORY=o/r GITHUB_REF="
	gitlab := "CI=true CI_PROJECT_PATH=g/p CI_COMMIT_REF_NAME="
	const own = "tree /own"
	for _, c := range []struct{ variables, name, key string }{
		{"", "", own},
		{"GITHUB_REPOSITORY=o/r GITHUB_REF=refs/heads/main GITHUB_EVENT_NAME=push", "", own},
		{"CI=true", "", own},
		{"CI=false GITHUB_REPOSITORY=o/r GITHUB_EVENT_NAME=push", "", own},
		{github + "refs/heads/main GITHUB_EVENT_NAME=push", "ci:o/r:refs/heads/main", ""},
		{github + "refs/tags/v1 GITHUB_EVENT_NAME=release", "ci:o/r:refs/tags/v1", ""},
		{github + "refs/pull/7/merge GITHUB_EVENT_NAME=pull_request", "ci:o/r:pull/7", ""},
		{github + "refs/pull/7/merge GITHUB_EVENT_NAME=push", "ci:o/r:pull/7", ""},
		{github + "refs/heads/main GITHUB_EVENT_NAME=pull_request_target " + pull7, "ci:o/r:pull/7", ""},
		{github + "refs/heads/main GITHUB_EVENT_NAME=push GITHUB_HEAD_REF=main " + pull7, "ci:o/r:pull/7", ""},
		{github + "refs/heads/main GITHUB_EVENT_NAME=issue_comment " + event("comment", `{"issue": {"number": 8}}`),
			"ci:o/r:pull/8", ""},
		{github + "refs/heads/main GITHUB_EVENT_NAME=workflow_run " + fork, "ci:o/r:workflow_run/pull_request/x/r/main", ""},
		{github + "refs/heads/main GITHUB_EVENT_NAME=workflow_run " + event("empty", `{}`), "ci:o/r:run/1-", "alone"},
		{github + "refs/heads/main GITHUB_EVENT_NAME=pull_request_target " + event("no", `{`), "ci:o/r:run/1-", "alone"},
		{github + "refs/heads/main GITHUB_EVENT_NAME=pull_request_target GITHUB_EVENT_PATH=/nowhere", "ci:o/r:run/1-",
			"alone"},
		{github + "refs/heads/main GITHUB_EVENT_NAME=pull_request_target GITHUB_EVENT_PATH=" + dir, "ci:o/r:run/1-", "alone"},
		{github + "refs/heads/main GITHUB_EVENT_NAME=news", "ci:o/r:run/1-", "alone"},
		{github + "refs/heads/main", "ci:o/r:run/1-", "alone"},
		{github + "refs/heads/a:b GITHUB_EVENT_NAME=push", "ci:o/r:", "alone"},
		{gitlab + "main", "ci:g/p:main", ""},
		{gitlab + "main CI_PIPELINE_SOURCE=push", "ci:g/p:main", ""},
		{gitlab + "main CI_COMMIT_TAG=main", "ci:g/p:tag:main", ""},
		{gitlab + "main CI_MERGE_REQUEST_IID=5 CI_PIPELINE_SOURCE=merge_request_event", "ci:g/p:merge_request:5", ""},
		{gitlab + "main CI_EXTERNAL_PULL_REQUEST_IID=5", "ci:g/p:external_pull_request:5", ""},
		{gitlab + "main CI_PIPELINE_SOURCE=parent_pipeline CI_PIPELINE_ID=3", "ci:g/p:pipeline/3", "alone"},
		{gitlab + "main GITHUB_REPOSITORY=o/r GITHUB_REF=refs/heads/main GITHUB_EVENT_NAME=push", "ci:o/r:unclear", "alone"},
	} {
		variables := map[string]string{}
		for _, v := range strings.Fields(c.variables) {
			name, value, _ := strings.Cut(v, "=")
			variables[name] = value
		}
		got := ofCI(Level{Key: own}, func(name string) string { return variables[name] })
		want := c.key
		switch c.key {
		case "":
			want = c.name
		case "alone":
			want = "alone " + c.name + " " + own
		}
		if got.Name != c.name || got.Key != want {
			t.Errorf("%s:\n got %+v\nwant %s, %s", c.variables, got, c.name, want)
		}
		if named, err := Parse(got.Name); err == nil && named.Key == got.Key {
			t.Errorf("%s: a name gives the same level", c.variables)
		}
	}
}

// What the user says comes before what CI says.
func TestGivenInCI(t *testing.T) {
	given, err := Parse("mine")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Of(t.TempDir(), given, func(string) string { return "true" })
	if err != nil || got != given {
		t.Errorf("%+v, %v", got, err)
	}
}

package kube

import (
	"context"
	"testing"
)

// TestBuildDate holds that binaries of one commit report one date, and that it is
// the user's where the user says one.
func TestBuildDate(t *testing.T) {
	ownGit(t)
	root := recentTree(t, "v1.20.2")
	date := func(env ...string) string {
		t.Helper()
		tree := openTree(t, root, env...)
		v, err := tree.Version(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		d, err := tree.BuildDate(context.Background(), v)
		if err != nil {
			t.Fatal(err)
		}
		if d.IsZero() {
			return ""
		}
		return d.Format("2006-01-02T15:04:05Z")
	}
	if got := date(); got != "" {
		t.Errorf("a tree whose scripts read no date gets %s", got)
	}
	bash(t, root, nil, "echo '# date ${SOURCE_DATE_EPOCH:+now}' >>hack/lib/version.sh")
	if got := date(); got != "" {
		t.Errorf("a comment reads the date: %s", got)
	}
	bash(t, root, nil, "echo 'x() { date ${SOURCE_DATE_EPOCH:+now}; }' >>hack/lib/version.sh")
	if got, want := date(), "2016-04-01T12:00:00Z"; got != want {
		t.Errorf("the date is %s, want the commit's, %s", got, want)
	}
	if got := date("SOURCE_DATE_EPOCH=1"); got != "" {
		t.Errorf("the user's date is replaced by %s", got)
	}
	if got := date("KUBE_GIT_COMMIT=0123456789012345678901234567890123456789", "KUBE_GIT_VERSION=v1.0.0"); got != "" {
		t.Errorf("a commit of elsewhere has the date %s", got)
	}
	bash(t, root, nil, "rm -rf .git")
	if got := date(); got != "" {
		t.Errorf("without git the date is %s", got)
	}
}

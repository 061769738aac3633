package kube

import (
	"context"
	"testing"
)

// TestBuildDate holds that binaries of the same sources report one date, and that it
// is the user's where the user says one.
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
		m, err := tree.Sources(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		d, err := tree.BuildDate(context.Background(), v, m)
		if err != nil {
			t.Fatal(err)
		}
		if d.Time.IsZero() {
			return d.Of
		}
		return d.Time.Format("2006-01-02T15:04:05Z, ") + d.Of
	}
	if got := date(); got != "" {
		t.Errorf("a tree whose scripts read no date gets %s", got)
	}
	bash(t, root, nil, "echo '# date ${SOURCE_DATE_EPOCH:+now}' >>hack/lib/version.sh")
	if got := date(); got != "" {
		t.Errorf("a comment reads the date: %s", got)
	}
	bash(t, root, nil, "echo 'x() { date ${SOURCE_DATE_EPOCH:+now}; }' >>hack/lib/version.sh")
	if got, want := date(), "2016-04-01T12:00:00Z, the commit"; got != want {
		t.Errorf("the date is %s, want the commit's, %s", got, want)
	}
	if got := date("SOURCE_DATE_EPOCH=1"); got != "" {
		t.Errorf("the user's date is replaced by %s", got)
	}
	bash(t, root, nil, "find . -type f | xargs touch -d 2015-01-02T03:04:05.6Z; touch -d 2016-07-08T09:10:11.9Z cmd/kubelet/kubelet.go")
	newest := "2016-07-08T09:10:11Z, the newest source"
	if got := date("KUBE_GIT_COMMIT=0123456789012345678901234567890123456789", "KUBE_GIT_VERSION=v1.0.0"); got != newest {
		t.Errorf("with a commit of elsewhere the date is %s, want %s", got, newest)
	}
	bash(t, root, nil, "rm -rf .git; mkdir _output; echo >_output/late; ln -s _output/late cmd/link")
	if got := date(); got != newest {
		t.Errorf("without git the date is %s, want %s", got, newest)
	}
	bash(t, root, nil, "touch -d 2999-01-01 cmd/kubelet/kubelet.go")
	if got := date(); got != "" {
		t.Errorf("with a source of the future the date is %s, not left to the scripts", got)
	}
}

// The programs of two builds are the same where they report no date, or the commit's.
func TestSameDate(t *testing.T) {
	ownGit(t)
	root := recentTree(t, "v1.20.2")
	tree := openTree(t, root)
	if !tree.SameDate(BuildDate{}) {
		t.Error("programs that report no date report different ones")
	}
	bash(t, root, nil, "echo '# buildDate' >>hack/lib/version.sh")
	if tree = openTree(t, root); !tree.SameDate(BuildDate{}) {
		t.Error("a comment has programs report a date")
	}
	bash(t, root, nil, "echo 'x() { echo buildDate=$(date); }' >>hack/lib/version.sh")
	tree = openTree(t, root)
	if tree.SameDate(BuildDate{}) || tree.SameDate(BuildDate{Of: "the newest source"}) || !tree.SameDate(BuildDate{Of: "the commit"}) {
		t.Error("whether the date is the same does not depend on what it is of")
	}
}

package kube

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Why there is no version is said, and the placeholder of git archive never
// stands for one.
func TestWhyUnknown(t *testing.T) {
	ownGit(t)
	const committed = "git init -q && git add . && git commit -q -m one && "
	for name, test := range map[string]struct{ setup, want string }{
		"no repository":      {"true", "there is no git repository"},
		"another repository": {"git init -q ..", "the repository of "},
		"no commit":          {"git init -q", "the repository has no commit"},
		"no tag":             {committed + "true", "no tag leads to the commit"},
		"shallow": {committed +
			"git tag v1.2.0 && git commit -q --allow-empty -m two && git clone -q --no-tags --depth 1 file://$PWD ../x && rm " +
			"-rf .git && mv ../x/.git .", "this is a shallow clone without a tag"},
		"missing object": {committed +
			"git tag v1.2.0 && c=$(git rev-parse HEAD) && rm -f .git/objects/${c:0:2}/${c:2}",
			"git cannot read HEAD: objects are missing"},
		"a tag, so it is known": {committed + "git tag v1.2.0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			root := filepath.Join(dir, "tree")
			if err := os.CopyFS(root, os.DirFS(smallTree(t, nil))); err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			for _, builtin := range []string{"v1.2.0-unknown", "v0.0.0-master+$Format:%H$"} {
				writeFiles(t, root, map[string]string{"pkg/version/base.go": "package version\n\nvar gitVersion string = \"" +
					builtin + "\"\n"})
				if builtin == "v1.2.0-unknown" {
					bash(t, root, nil, test.setup)
				}
				tree := openTree(t, root)
				v, err := tree.Version(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if why := tree.WhyUnknown(ctx, v); !strings.HasPrefix(why, test.want) || test.want == "" && why != "" {
					t.Errorf("it says %q, want %q", why, test.want)
				}
				err = tree.CheckVersion(ctx, v)
				var unknown *UnknownVersionError
				if errors.As(err, &unknown) != (test.want != "" && strings.Contains(builtin, "$Format")) {
					t.Errorf("%s: %v", builtin, err)
				}
				given, givenErr := tree.WithGitVersion("v1.2.3")
				if givenErr != nil {
					t.Fatal(givenErr)
				}
				v, err = given.Version(ctx)
				if err = errors.Join(err, given.CheckVersion(ctx, v)); err != nil || v.GitVersion == "" {
					t.Errorf("with a version given: %+v, %v", v, err)
				}
			}
		})
	}
}

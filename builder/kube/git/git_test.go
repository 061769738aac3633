package git

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ownGit keeps the tests' git from the configuration of whoever runs them.
func ownGit(t *testing.T) (home string) {
	t.Helper()
	home = t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": "", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@b",
		"GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@b",
	} {
		t.Setenv(name, value)
	}
	for _, name := range local {
		t.Setenv(name, "") // so that it is restored
		os.Unsetenv(name)
	}
	return home
}

// sh runs a script in a directory and is what it prints.
func sh(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("bash", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

const committed = `git init -q -b main && mkdir -p sub && echo one >file && echo two >sub/file &&
	echo out/ >.gitignore && git add . && git commit -qm one && git tag v1.2.0 && git commit -q --allow-empty -m two; `

// answers is all that kbuild asks git.
func answers(t *testing.T, root string) string {
	t.Helper()
	ctx, r := context.Background(), Repository{Root: root}
	var all []string
	for _, args := range [][]string{
		{"rev-parse", "HEAD^{commit}"}, {"describe", "--tags", "--abbrev=14", "HEAD^{commit}"},
		{"describe", "--tags", "--match=v*", "--abbrev=14", "HEAD^{commit}"},
	} {
		text, ok, err := r.Ask(ctx, args...)
		if err != nil {
			t.Errorf("git %s: %v", args[0], err)
		}
		all = append(all, text, map[bool]string{true: "ok", false: "failed"}[ok])
	}
	changed, ok, err := r.Changed(ctx)
	if err != nil {
		t.Errorf("git status: %v", err)
	}
	ignored, err := r.Ignored(ctx, []string{"out/x", "file", "new"})
	if err != nil {
		t.Errorf("git check-ignore: %v", err)
	}
	all = append(all, map[bool]string{true: "changed", false: "clean"}[changed],
		map[bool]string{true: "ok", false: "failed"}[ok], r.Branch(ctx))
	return strings.Join(append(all, ignored...), "\n")
}

// plain is what git itself says, as a user or the tree's scripts would ask.
func plain(t *testing.T, root string) string {
	t.Helper()
	return strings.TrimSpace(sh(t, root, `
		ask() { if x=$(git --work-tree "$PWD" "$@" 2>/dev/null); then echo "$x"; echo ok; else echo "$x"; echo failed; fi; }
		ask rev-parse 'HEAD^{commit}'
		ask describe --tags --abbrev=14 'HEAD^{commit}'
		ask describe --tags '--match=v*' --abbrev=14 'HEAD^{commit}'
		if x=$(git --work-tree "$PWD" status --porcelain 2>/dev/null)
		then [ -z "$x" ] && echo clean || echo changed; echo ok
		else echo clean; echo failed
		fi
		git symbolic-ref --short -q HEAD 2>/dev/null || echo
		git check-ignore out/x file new 2>/dev/null || true`))
}

// Where a repository's configuration has nothing that git would run, the answers
// are git's own.
func TestAnswersAreThoseOfGit(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: repositories of every kind")
	}
	for name, setup := range map[string]string{
		"clean":         committed,
		"no repository": "true",
		"no commit":     "git init -q -b main",
		"no tag":        committed + "git tag -d v1.2.0",
		"changed":       committed + "echo x >>file",
		"new file":      committed + "touch new",
		"touched":       committed + "touch -d 2001-01-01 file",
		"removed":       committed + "rm file",
		"staged":        committed + "echo x >>file; git add file",
		"ignored":       committed + "mkdir out; touch out/x",
		"detached":      committed + "git checkout -q HEAD~1",
		"worktree": "mkdir ../main && cd ../main && " + committed +
			`rm -rf "$OLDPWD" && git worktree add -q "$OLDPWD" -b other`,
		"separate": "mkdir ../x && cd ../x && " + committed +
			`rm -rf "$OLDPWD"; git clone -q --separate-git-dir ../y . "$OLDPWD"`,
		"alternates": "mkdir ../x && cd ../x && " + committed + `rm -rf "$OLDPWD"; git clone -q --shared . "$OLDPWD"`,
		"shallow": "mkdir ../x && cd ../x && " + committed +
			`rm -rf "$OLDPWD"; git clone -q --depth 1 "file://$PWD" "$OLDPWD"`,
		"sparse":     committed + "git sparse-checkout set sub",
		"attributes": committed + "echo '* text=auto' >.gitattributes; printf 'a\\r\\n' >file",
		"user's filter": committed +
			"git config --global filter.lfs.clean 'tr a-z A-Z'; git config --global filter.lfs.required true; echo 'file " +
			"filter=lfs' >.git/info/attributes; touch -d 2001-01-01 file",
		"user's, unchanged": committed +
			"git config --global filter.lfs.clean cat; echo 'file filter=lfs' >.git/info/attributes; touch -d 2001-01-01 file",
		"submodule at another commit": "mkdir ../x && cd ../x && " + committed + `cd "$OLDPWD" && ` + committed +
			"git -c protocol.file.allow=always submodule -q add ../x mod && git commit -qm sub && git -C mod checkout -q HEAD~1",
	} {
		t.Run(name, func(t *testing.T) {
			ownGit(t)
			root := filepath.Join(t.TempDir(), "tree")
			if err := os.Mkdir(root, 0o755); err != nil {
				t.Fatal(err)
			}
			sh(t, root, setup)
			// Git's own answers last: git status writes the index.
			got := strings.TrimSpace(answers(t, root))
			if want := plain(t, root); got != want {
				t.Errorf("it says\n%s\ngit says\n%s", got, want)
			}
		})
	}
}

// What a repository's own configuration names is not run, and the answers are
// those of a repository without it.
func TestNothingOfTheRepositoryRuns(t *testing.T) {
	for name, hostile := range map[string]string{
		"monitor":       `git config core.fsmonitor "touch $MARK; false"`,
		"monitor, true": `git config core.fsmonitor true`,
		"hooks": `printf '#!/bin/sh\ntouch $MARK\n' >.git/hooks/post-index-change; chmod +x ` +
			`.git/hooks/post-index-change; touch -d 2001-01-01 file`,
		"hooks path": `mkdir out; printf '#!/bin/sh\ntouch $MARK\n' >out/post-index-change; chmod +x out/*; git config ` +
			`core.hooksPath out; touch -d 2001-01-01 file`,
		"filter": `git config filter.f.clean "touch $MARK; cat"; echo '* filter=f' >.git/info/attributes; touch -d ` +
			`2001-01-01 file`,
		"process": `git config filter.f.process "touch $MARK; cat"; git config filter.f.required true; echo '* ` +
			`filter=f' >.git/info/attributes; touch -d 2001-01-01 file`,
		"dotted filter": `git config filter.a.b.clean "touch $MARK; cat"; echo '* filter=a.b' >.git/info/attributes; ` +
			`touch -d 2001-01-01 file`,
		"included": `printf '[filter "f"]\nclean = touch %s\n' $MARK >.git/more; git config include.path more; echo ` +
			`'* filter=f' >.git/info/attributes; touch -d 2001-01-01 file`,
		"user's, taken": `git config --global filter.lfs.clean cat; git config filter.lfs.clean "touch $MARK; cat"; git ` +
			`config filter.lfs.process "touch $MARK"; echo '* filter=lfs' >.git/info/attributes; touch -d 2001-01-01 file`,
		"worktree's own": `git config extensions.worktreeConfig true; git config --worktree filter.f.clean "touch $MARK; ` +
			`cat"; echo '* filter=f' >.git/info/attributes; touch -d 2001-01-01 file`,
		"promisor": `git config core.repositoryFormatVersion 1; git config extensions.partialClone origin
			git config remote.origin.promisor true; git config remote.origin.url ssh://h/x
			git config core.sshCommand "touch $MARK; false"; git config remote.origin.uploadpack "touch $MARK"`,
		"pager": `git config core.pager "touch $MARK"; git config pager.status true; git config alias.status "!touch ` +
			`$MARK"; git config diff.external "touch $MARK"`,
	} {
		t.Run(name, func(t *testing.T) {
			ownGit(t)
			root := t.TempDir()
			mark := filepath.Join(t.TempDir(), "mark")
			t.Setenv("MARK", mark)
			sh(t, root, committed)
			want := plain(t, root)
			sh(t, root, hostile)
			if got := strings.TrimSpace(answers(t, root)); got != want {
				t.Errorf("it says\n%s\nwithout that configuration git says\n%s", got, want)
			}
			if _, err := os.Lstat(mark); err == nil {
				t.Error("it was run")
			}
		})
	}
}

// A submodule's repository is not looked into by another git.
func TestSubmodules(t *testing.T) {
	ownGit(t)
	dir := t.TempDir()
	mark := filepath.Join(dir, "mark")
	t.Setenv("MARK", mark)
	sh(t, dir, "mkdir x tree; cd x; "+committed+"cd ../tree; "+committed+
		"git -c protocol.file.allow=always submodule -q add ../x mod && git commit -qm sub")
	root := filepath.Join(dir, "tree")
	sh(t, root, `git -C mod config core.fsmonitor "touch $MARK; false"
		git -C mod config filter.f.clean "touch $MARK; cat"; echo '* filter=f' >.git/modules/mod/info/attributes
		touch -d 2001-01-01 mod/file; git config submodule.recurse true
		git config -f .gitmodules submodule.mod.ignore none; git add .gitmodules
		git commit -qm x 2>/dev/null; rm -f $MARK`)
	answers(t, root)
	if _, err := os.Lstat(mark); err == nil {
		t.Error("it was run")
	}
}

// A filter whose name cannot be said on git's command line.
func TestFilterThatCannotBeKeptOff(t *testing.T) {
	ownGit(t)
	root := t.TempDir()
	mark := filepath.Join(t.TempDir(), "mark")
	sh(t, root, committed+`printf '[filter "a=b"]\nclean = touch '"`+mark+
		`"'\n' >>.git/config; echo '* filter=a=b' >.git/info/attributes; touch -d 2001-01-01 file`)
	var filter *FilterError
	if _, _, err := (Repository{Root: root}).Changed(context.Background()); !errors.As(err, &filter) ||
		filter.Name != "a=b" {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Lstat(mark); err == nil {
		t.Error("it was run")
	}
}

// Only the tree's own repository is asked.
func TestOtherRepositories(t *testing.T) {
	ctx := context.Background()
	ownGit(t)
	dir := t.TempDir()
	sh(t, dir, "mkdir -p other outer/tree own; cd other; "+committed+"git tag v9.9.9; cd ../outer; "+committed+
		"git tag v8.8.8; cd ../own; "+committed)
	other, tree, own := filepath.Join(dir, "other"), filepath.Join(dir, "outer/tree"), filepath.Join(dir, "own")
	ask := func(root string) string {
		t.Helper()
		text, ok, err := Repository{Root: root}.Ask(ctx, "describe", "--tags", "--abbrev=0")
		if err != nil {
			t.Error(err)
		}
		if !ok {
			return "none"
		}
		return text
	}
	if got := ask(tree); got != "none" {
		t.Errorf("of a directory of another repository: %s", got)
	}
	if got := (Repository{Root: tree}).Outer(); got != filepath.Join(dir, "outer") || (Repository{Root: tree}).Exists() {
		t.Errorf("the outer repository is %q", got)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_DIR", filepath.Join(other, ".git"))
	for root, want := range map[string]string{tree: "none", own: "v1.2.0", link: "v1.2.0"} {
		if got := ask(root); got != want {
			t.Errorf("with GIT_DIR of another repository: %s has %s, want %s", root, got, want)
		}
	}
	t.Setenv("GIT_WORK_TREE", other)
	if got := ask(own); got != "v1.2.0" {
		t.Errorf("with GIT_WORK_TREE of another repository: %s", got)
	}
	// Both are the tree's: its repository lies elsewhere.
	t.Setenv("GIT_WORK_TREE", tree)
	if got := ask(tree); got != "v9.9.9" {
		t.Errorf("with GIT_DIR and GIT_WORK_TREE of the tree: %s", got)
	}
	for _, name := range []string{"GIT_DIR", "GIT_WORK_TREE"} {
		os.Unsetenv(name)
	}
	// A bare repository among the files of a tree, which git would take for the
	// repository of that tree.
	mark := filepath.Join(dir, "mark")
	sh(t, dir, "git clone -q --bare own bare; git -C bare config core.fsmonitor 'touch "+mark+
		"; false'; git -C bare config core.bare false")
	answers(t, filepath.Join(dir, "bare"))
	if _, err := os.Lstat(mark); err == nil {
		t.Error("the configuration of a bare repository in the tree was run")
	}
}

func TestNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	r := Repository{Root: t.TempDir()}
	if _, err := r.run(context.Background(), "", "rev-parse", "HEAD"); !errors.Is(err, ErrNotInstalled) {
		t.Error(err)
	}
	if text, ok, err := r.Ask(context.Background(), "rev-parse", "HEAD"); text != "" || ok || err != nil {
		t.Error(text, ok, err)
	}
}

// SUDO_UID says who stands behind root only where he owns the tree.
func TestSudo(t *testing.T) {
	root := t.TempDir()
	if err := os.Chown(root, os.Geteuid(), -1); err != nil {
		t.Fatal(err)
	}
	mine := "SUDO_UID=" + strconv.Itoa(os.Geteuid())
	t.Setenv("SUDO_UID", strconv.Itoa(os.Geteuid()))
	if !slices.Contains(Repository{Root: root}.environment(), mine) {
		t.Error("the owner's SUDO_UID is left out")
	}
	t.Setenv("SUDO_UID", "12345")
	if slices.ContainsFunc(Repository{Root: root}.environment(),
		func(v string) bool { return strings.HasPrefix(v, "SUDO_UID=") }) {
		t.Error("git gets the SUDO_UID of somebody else")
	}
}

func TestTrusted(t *testing.T) {
	home := ownGit(t)
	for config, want := range map[string]bool{
		"": false, "[safe]\ndirectory = /a/b\n": true, "[safe]\ndirectory = *\n": true, "[safe]\ndirectory = /a/*\n": true,
		"[safe]\ndirectory = /a\n": false,
	} {
		if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(home, "a/b"), 0o755); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(home, "a/b")
		rooted := strings.ReplaceAll(config, "/a", filepath.Join(home, "a"))
		if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(rooted), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := trusted(context.Background(), dir); got != want {
			t.Errorf("%q: %t", config, got)
		}
	}
}

// Objects that are missing are not fetched, with whatever program.
func TestNothingIsFetched(t *testing.T) {
	ownGit(t)
	root := t.TempDir()
	mark := filepath.Join(t.TempDir(), "mark")
	t.Setenv("MARK", mark)
	sh(t, root, committed+`c=$(git rev-parse HEAD~1); rm -f .git/objects/${c:0:2}/${c:2}
		git config core.repositoryFormatVersion 1; git config extensions.partialClone origin
		git config remote.origin.promisor true; git config remote.origin.url ssh://h/x
		git config core.sshCommand "touch $MARK; false"; git config remote.origin.uploadpack "touch $MARK"`)
	if text, ok, err := (Repository{Root: root}).Ask(context.Background(), "describe", "--tags", "HEAD"); ok {
		t.Errorf("it says %s, %v", text, err)
	}
	if _, err := os.Lstat(mark); err == nil {
		t.Error("git connected to the remote repository")
	}
}

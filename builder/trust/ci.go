package trust

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// ofCI returns the level that a CI system's variables say, where CI is set, and else
// the tree's own. The system sets them, whatever the change that is built says;
// still, none of them makes a level higher: what is not clear gets a level that
// nothing else has.
func ofCI(own Level, getenv func(string) string) Level {
	if !isCI(getenv) {
		return own
	}
	github, gitlab := getenv("GITHUB_REPOSITORY"), getenv("CI_PROJECT_PATH")
	switch {
	case github != "" && gitlab != "":
		return alone(own, github, "unclear")
	case github != "":
		return ofGitHub(own, github, getenv)
	case gitlab != "":
		return ofGitLab(own, gitlab, getenv)
	}
	return own
}

func isCI(getenv func(string) string) bool {
	ci := getenv("CI")
	return ci != "" && ci != "false" && ci != "0"
}

// partSyntax is that of a repository's or a ref's name, as far as kbuild takes
// it. git allows more in a ref; that is then not clear.
var partSyntax = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[\pL\pN][\pL\pN._/@+#=-]{0,255}$`)
})

func isClear(part string) bool { return partSyntax().MatchString(part) }

// level returns the level of all runs for a ref of a repository.
func level(own Level, repository, kind, ref string) Level {
	if !isClear(repository) || !isClear(ref) {
		return alone(own, repository, kind)
	}
	name := "ci:" + repository + ":" + kind + ref
	return Level{Name: name, Key: name}
}

// alonePrefix begins the keys of levels that nothing else has.
const alonePrefix = "alone "

// alone returns a level that nothing but this run in this tree has.
func alone(own Level, repository, what string) Level {
	if !isClear(repository) {
		repository = "?"
	}
	name := "ci:" + repository + ":" + what
	return Level{Name: name, Key: alonePrefix + name + " " + own.Key}
}

// pushed are the events of GitHub Actions whose GITHUB_REF is what was pushed to
// the repository or chosen by who may write to it. With the others that is the
// default branch, or the base of a pull request, while what is built may be
// anybody's: see "Events that trigger workflows" in GitHub's documentation.
var pushed = []string{
	"push", "schedule", "workflow_dispatch", "repository_dispatch", "create", "release", "merge_group",
}

var pullRef = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^refs/pull/([0-9]+)/`) })

func ofGitHub(own Level, repository string, getenv func(string) string) Level {
	event, ref := getenv("GITHUB_EVENT_NAME"), getenv("GITHUB_REF")
	if m := pullRef().FindStringSubmatch(ref); m != nil {
		return level(own, repository, "pull/", m[1])
	}
	if slices.Contains(pushed, event) && getenv("GITHUB_HEAD_REF") == "" {
		return level(own, repository, "", ref)
	}
	// Of what runs for somebody's change, the event says whose.
	change, known := readEvent(getenv("GITHUB_EVENT_PATH"))
	if !known {
		run := "run/" + getenv("GITHUB_RUN_ID") + "-" + getenv("GITHUB_RUN_ATTEMPT")
		if !isClear(run) {
			run = "run"
		}
		return alone(own, repository, run)
	}
	return level(own, repository, "", change)
}

// eventLength bounds what is read of an event, in bytes. GitHub's have some ten
// thousands.
const eventLength = 16 << 20

// readEvent tells which change an event of GitHub Actions is about.
func readEvent(file string) (change string, known bool) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > eventLength {
		return "", false
	}
	data, err := io.ReadAll(io.LimitReader(f, eventLength))
	if err != nil {
		return "", false
	}
	type number struct {
		Number int64 `json:"number"`
	}
	var event struct {
		PullRequest number `json:"pull_request"`
		Issue       number `json:"issue"` // of a comment
		Run         struct {
			Branch     string `json:"head_branch"`
			Event      string `json:"event"`
			Repository struct {
				Name string `json:"full_name"`
			} `json:"head_repository"`
			PullRequests []number `json:"pull_requests"` // none of a fork's
		} `json:"workflow_run"`
	}
	if err := json.Unmarshal(data, &event); err != nil {
		return "", false
	}
	run := event.Run
	switch {
	case event.PullRequest.Number > 0:
		return fmt.Sprintf("pull/%d", event.PullRequest.Number), true
	case event.Issue.Number > 0:
		return fmt.Sprintf("pull/%d", event.Issue.Number), true
	case len(run.PullRequests) == 1 && run.PullRequests[0].Number > 0:
		return fmt.Sprintf("pull/%d", run.PullRequests[0].Number), true
	case run.Branch != "" && run.Repository.Name != "":
		// Not that of the branch itself: a fork has branches of the same names.
		return "workflow_run/" + run.Event + "/" + run.Repository.Name + "/" + run.Branch, true
	}
	return "", false
}

// branches are the sources of GitLab's pipelines that run for the ref that
// CI_COMMIT_REF_NAME names, see "Predefined CI/CD variables" in GitLab's
// documentation. A pipeline that another one started runs for what that ran for.
var branches = []string{"", "push", "web", "schedule", "api", "trigger"}

func ofGitLab(own Level, project string, getenv func(string) string) Level {
	// The colons keep these apart from branches of the same names.
	if iid := getenv("CI_MERGE_REQUEST_IID"); iid != "" {
		return level(own, project, "merge_request:", iid)
	}
	if iid := getenv("CI_EXTERNAL_PULL_REQUEST_IID"); iid != "" {
		return level(own, project, "external_pull_request:", iid)
	}
	if !slices.Contains(branches, getenv("CI_PIPELINE_SOURCE")) {
		run := "pipeline/" + getenv("CI_PIPELINE_ID")
		if !isClear(run) {
			run = "pipeline"
		}
		return alone(own, project, run)
	}
	if getenv("CI_COMMIT_TAG") != "" {
		// A tag may have the name of a branch.
		return level(own, project, "tag:", getenv("CI_COMMIT_TAG"))
	}
	return level(own, project, "", getenv("CI_COMMIT_REF_NAME"))
}

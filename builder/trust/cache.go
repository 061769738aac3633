package trust

import "strings"

// What travels between machines is kept apart by level as what is kept on one. The
// name of a level there is part of the name of an image, so that who may write is
// decided where names are: each run writes under its own level alone.

// commonID is the level of a cache for trees without a level that was named: who
// names a repository to read trusts who may write there.
const commonID = "default"

// CacheID returns the level in the name of what travels.
func (l Level) CacheID() string {
	if l.Name == "" {
		return commonID
	}
	return l.ID()
}

// Alone reports whether nothing but this run in this tree has the level, so that
// nobody would ever read what it leaves for others.
func (l Level) Alone() bool { return strings.HasPrefix(l.Key, alonePrefix) }

// Base returns the level that a pull or merge request is to be merged into, by the
// variables of a CI system, and whether there is one. What that left was written by
// what is merged already, so that a request may read it; nothing of a request is ever
// written there.
func Base(getenv func(string) string) (Level, bool) {
	github, gitlab := getenv("GITHUB_REPOSITORY"), getenv("CI_PROJECT_PATH")
	if !isCI(getenv) || github != "" && gitlab != "" {
		return Level{}, false
	}
	repository, ref := "", ""
	switch branch := getenv("GITHUB_BASE_REF"); {
	case github != "" && branch != "":
		repository, ref = github, "refs/heads/"+branch
	case gitlab != "" && getenv("CI_MERGE_REQUEST_IID") != "":
		// The request of a fork runs in the fork's project, or in its target's.
		repository, ref = getenv("CI_MERGE_REQUEST_PROJECT_PATH"), getenv("CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
	case gitlab != "" && getenv("CI_EXTERNAL_PULL_REQUEST_IID") != "":
		repository, ref = gitlab, getenv("CI_EXTERNAL_PULL_REQUEST_TARGET_BRANCH_NAME")
	}
	if !isClear(repository) || !isClear(ref) {
		return Level{}, false
	}
	return level(Level{}, repository, "", ref), true
}

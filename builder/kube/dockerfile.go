package kube

import (
	"bytes"
	"fmt"
	"strings"
)

// BuildDockerfile is the Dockerfile of the build image: the tree's own with
// its placeholders filled as the tree's script does with sed, the first in
// each line. Values go in as they are, where sed would give a meaning to "&"
// and fail at "#". The instructions that Recipe.NetworkSteps names are left
// out, unless it is to be as upstream's.
func (t Tree) BuildDockerfile(asUpstream bool) ([]byte, error) {
	text, err := readTreeFile(t.Root, t.Recipe.Dockerfile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Recipe.Dockerfile, err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	for _, f := range t.Recipe.fills {
		if strings.ContainsAny(f.value, "\n\r\x00") {
			return nil, fmt.Errorf("fill %s: the value of %s has more than one line", t.Recipe.Dockerfile, f.placeholder)
		}
		for i, line := range lines {
			lines[i] = bytes.Replace(line, []byte(f.placeholder), []byte(f.value), 1)
		}
	}
	return bytes.Join(lines, nil), nil
}

// baseImage is the image that the Dockerfile builds on.
func (t Tree) baseImage() (string, error) {
	text, err := t.BuildDockerfile(true)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 || !strings.EqualFold(words[0], "FROM") {
			continue
		}
		for _, w := range words[1:] {
			if !strings.HasPrefix(w, "--") { // --platform=...
				return w, nil
			}
		}
	}
	return "", fmt.Errorf("%s: cannot find FROM", t.Recipe.Dockerfile)
}

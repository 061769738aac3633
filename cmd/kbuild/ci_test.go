package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/storage/files/filestest"
	"gopkg.in/yaml.v3"
)

// An example is what one of docs/ci.md has a job run.
type example struct {
	env    map[string]string
	script string
}

// ciExamples reads the indented examples of docs/ci.md, by the headings that they
// stand under.
func ciExamples(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile("../../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	examples, heading, inside := map[string][]string{}, "", false
	for line := range strings.Lines(string(data)) {
		text, indented := strings.CutPrefix(line, "    ")
		switch {
		case strings.HasPrefix(line, "## "):
			heading = strings.TrimSpace(line[3:])
		case indented && !inside:
			examples[heading] = append(examples[heading], text)
		case indented:
			examples[heading][len(examples[heading])-1] += text
		}
		inside = indented
	}
	return examples
}

// ciJob is what is looked at of a job, a step or a container of any of the systems.
type ciJob struct {
	Variables, Env yaml.Node
	Script         []string
	Steps          []ciJob
	Run            string
	Command        []string
	Spec           struct{ Containers []ciJob }
	Jobs           map[string]ciJob
	Kubelet        *ciJob
}

// variables are those of a map, or of a list of names and values.
func variables(t *testing.T, nodes ...yaml.Node) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, node := range nodes {
		var list []struct{ Name, Value string }
		var err error
		if node.Kind == yaml.SequenceNode {
			err = node.Decode(&list)
		} else if node.Kind != 0 {
			err = node.Decode(&all)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list {
			all[v.Name] = v.Value
		}
	}
	return all
}

// job reads an example that is YAML. fill takes the place of a system's own
// expressions, and has to know each.
func job(t *testing.T, text string, fill map[string]string) example {
	t.Helper()
	expression := regexp.MustCompile(`\$\{\{ .*? \}\}|\$\([a-z]+(\.[a-z]+)+\)`)
	text = expression.ReplaceAllStringFunc(text, func(e string) string {
		value, ok := fill[e]
		if !ok {
			t.Errorf("nothing stands for %s", e)
		}
		return value
	})
	var j ciJob
	if err := yaml.Unmarshal([]byte(text), &j); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	switch {
	case j.Kubelet != nil:
		j = *j.Kubelet
	case j.Jobs != nil:
		j = j.Jobs["kubelet"]
	case j.Spec.Containers != nil:
		j = j.Spec.Containers[0]
	}
	e := example{env: variables(t, j.Variables, j.Env), script: strings.Join(j.Script, "\n")}
	for _, s := range append(j.Steps, j) {
		e.script += "\n" + s.Run
		for _, word := range s.Command {
			e.script += " '" + word + "'"
		}
		maps.Copy(e.env, variables(t, s.Env))
	}
	return e
}

// What docs/ci.md has jobs run serves: each example's lines, with its variables, in a
// tree whose sources compile at once. What is around them, such as the runner's image,
// is not there.
func TestExamplesOfCI(t *testing.T) {
	long(t, "the examples of docs/ci.md")
	if os.Getuid() == 0 {
		t.Skip("NOT TESTED as root: an account's run has it, and TestPods has root's containers")
	}
	w := smallWorld(t)
	locked := lockedRegistry(t, "reader", "secret")
	tree, dir := smallTree(t), t.TempDir()
	filestest.Write(t, filepath.Join(tree, "hack/build-go.sh"), `#!/bin/bash
set -e
out=_output/dockerized/bin/linux/amd64
mkdir -p $out && echo kubelet >$out/kubelet && chmod 755 $out/kubelet
`)
	store := filepath.Join(w.store, "examples")
	conf := filepath.Join(dir, "storage.conf")
	filestest.Write(t, conf, fmt.Sprintf("[storage]\ndriver = \"\"\ngraphroot = %q\nrunroot = %q\n", store+"/graph", store+"/run"))
	caches := filepath.Join(dir, "caches")
	examples := ciExamples(t)
	at := func(heading string, i int) string {
		if i >= len(examples[heading]) {
			t.Fatalf("%q has %d examples", heading, len(examples[heading]))
		}
		return strings.NewReplacer(
			"registry.example/kubernetes", w.registry.Host()+"/small/kubernetes", "ghcr.io", locked.Host(),
			"/var/cache/kbuild", caches, "oci:/cache", "oci:"+caches, "/tmp/auth.json", dir+"/auth.json",
			// Nothing is installed here.
			"sudo apt-get install -y runc uidmap && ", "",
		).Replace(examples[heading][i])
	}
	const cached = "A job that compiles only what changed"
	github := map[string]string{
		"${{ github.repository_owner }}": "team", "${{ github.workspace }}": tree, "${{ github.actor }}": "reader",
		"${{ secrets.GITHUB_TOKEN }}": "secret",
		"${{ github.event_name == 'push' && format('" + locked.Host() + "/{0}/kbuild-cache', github.repository_owner) || '' }}": locked.Host() + "/team/kbuild-cache",
	}
	tekton := map[string]string{
		"$(workspaces.source.path)": tree, "$(workspaces.cache.path)": caches, "$(params.branch)": "main",
	}
	pod := job(t, at("A Kubernetes pod", 0), nil)
	podCached := job(t, at(cached, 5), nil)
	podCached.script = pod.script
	jenkins := regexp.MustCompile(`\bsh '(.*)'`).FindStringSubmatch(at(cached, 3))
	if jenkins == nil {
		t.Fatal("the example of Jenkins has no sh")
	}
	for name, e := range map[string]example{
		"GitHub Actions":       job(t, at("GitHub Actions", 0), nil),
		"GitLab CI":            job(t, at("GitLab CI", 0), nil),
		"a pod":                pod,
		"cached, GitHub":       job(t, at(cached, 0), github),
		"cached, GitLab":       job(t, at(cached, 1), nil),
		"cached, GitLab's own": job(t, at(cached, 2), nil),
		"cached, Jenkins":      {map[string]string{"KBUILD_TRUST": "main"}, jenkins[1]},
		"cached, Tekton":       job(t, at(cached, 4), tekton),
		"cached, a pod":        podCached,
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(filepath.Join(tree, "_output/dockerized")); err != nil {
				t.Fatal(err)
			}
			env := map[string]string{
				"PATH": os.Getenv("PATH"), "TMPDIR": os.Getenv("TMPDIR"), "CONTAINERS_STORAGE_CONF": conf, "CI": "true",
				"MIRROR": w.registry.Host() + "/small/kubernetes", "CI_REGISTRY": locked.Host(),
				"CI_REGISTRY_IMAGE": locked.Host() + "/team/kbuild", "CACHE_WRITE": "reader:secret",
			}
			for name, value := range e.env {
				env[name] = os.Expand(value, func(name string) string { return env[name] })
			}
			// GitHub and GitLab run lines in this way; see GitHub's "shell" of a step.
			cmd := exec.Command("bash", "-e", "-o", "pipefail", "-c", e.script)
			cmd.Dir = tree
			cmd.Env = w.environ(filepath.Join(dir, "home"))
			for _, name := range slices.Sorted(maps.Keys(env)) {
				cmd.Env = append(cmd.Env, name+"="+env[name])
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(e.script, "kbuild") {
				t.Fatalf("%v\n%s\n%s", err, e.script, out)
			}
			if data, err := os.ReadFile(filepath.Join(tree, "_output/dockerized/bin/linux/amd64/kubelet")); string(data) != "kubelet\n" {
				t.Errorf("%q, %v\n%s", data, err, out)
			}
			if written := regexp.MustCompile(`(?m)^kbuild: cache +(\d+ objects written to|\S+ has all of this already)`); written.Match(out) !=
				strings.HasPrefix(name, "cached") {
				t.Errorf("whether a cache was written is wrong:\n%s", out)
			}
		})
	}
}

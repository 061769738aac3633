package cross

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	lazy "github.com/containers/storage/pkg/regexp"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage"
	"github.com/opencontainers/go-digest"
)

// Dockerfile is a base image made by the tree's own Dockerfile of it.
type Dockerfile struct {
	Tree kube.Tree
	// Dockerfile is the text, with ids in the place of the images that it
	// begins with.
	Dockerfile []byte
	// Proxies are variables that its commands are given, NAME=value. They are
	// part neither of the image's configuration nor of its history.
	Proxies []string
	Host    container.Host
	// Step is called with the title of each step that begins.
	Step func(title string)
}

// dir is the build context.
func (c Dockerfile) dir() string {
	return filepath.Join(c.Tree.Root, filepath.Dir(filepath.FromSlash(c.Tree.Recipe.Dockerfile)))
}

// Inputs is the digest of all the image is made from, but for what its commands
// download.
func (c Dockerfile) Inputs() (digest.Digest, error) {
	h := sha256.New()
	fmt.Fprintf(h, "dockerfile 1\n%q\n", c.Dockerfile)
	if err := contextFiles(c.dir(), h); err != nil {
		return "", fmt.Errorf("read the context of %s: %w", c.Tree.Recipe.CrossDockerfile, err)
	}
	return digest.NewDigest(digest.SHA256, h), nil
}

// Assemble runs the Dockerfile with buildah, with the host's network, and
// returns the image, which has no name. It never pulls.
func (c Dockerfile) Assemble(ctx context.Context, store *storage.Store, inputs digest.Digest) (storage.Image, error) {
	file := filepath.Join(c.Host.Dir, "Dockerfile.cross")
	if err := os.WriteFile(file, c.Dockerfile, 0o600); err != nil {
		return storage.Image{}, err
	}
	output := &stepLog{begin: c.Step}
	restore, err := setProxies(c.Proxies)
	if err != nil {
		return storage.Image{}, err
	}
	// Files keep the times they are written at: Go before 1.10 judges by them.
	id, err := container.RunDockerfile(ctx, store, container.Dockerfile{
		File: file, Context: c.dir(), Args: c.Tree.Recipe.BuildArgs, Labels: []string{labelCross + "=" + inputs.String()},
		Network: container.NetworkHost, Tree: c.Tree.Recipe.PathID, Host: c.Host, Log: output,
	})
	err = errors.Join(err, restore())
	if ctx.Err() != nil {
		return storage.Image{}, ctx.Err()
	}
	if err != nil {
		return storage.Image{}, c.explain(err, output)
	}
	return store.LookupID(id)
}

// proxyVariables are those that programs and buildah know.
var proxyVariables = []string{"http_proxy", "https_proxy", "no_proxy", "ftp_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "FTP_PROXY"}

// setProxies makes the proxies those of this process for a while.
func setProxies(proxies []string) (restore func() error, err error) {
	before := map[string]string{}
	for _, name := range proxyVariables {
		if value, ok := os.LookupEnv(name); ok {
			before[name] = value
			err = errors.Join(err, os.Unsetenv(name))
		}
	}
	for _, p := range proxies {
		name, value, _ := strings.Cut(p, "=")
		err = errors.Join(err, os.Setenv(name, value))
	}
	return func() (err error) {
		for _, name := range proxyVariables {
			if value, ok := before[name]; ok {
				err = errors.Join(err, os.Setenv(name, value))
			} else {
				err = errors.Join(err, os.Unsetenv(name))
			}
		}
		return err
	}, err
}

// Proxies are the proxies for the commands of a base image's Dockerfile, as
// NAME=value: of KUBE_BUILD_HTTP_PROXY, KUBERNETES_HTTP_PROXY, http_proxy and
// HTTP_PROXY the first that is set, and so for HTTPS and NO. User and password
// are left out: the commands could write them into the image.
func Proxies(getenv func(string) string) []string {
	var list []string
	for _, kind := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		lower := strings.ToLower(kind)
		for _, name := range []string{"KUBE_BUILD_" + kind, "KUBERNETES_" + kind, lower, kind} {
			if value := kube.WithoutCredentials(getenv(name)); value != "" {
				// Programs differ in which of the two they read.
				list = append(list, lower+"="+value, kind+"="+value)
				break
			}
		}
	}
	return list
}

// stepLog keeps what the last step printed.
type stepLog struct {
	begin func(title string)

	mu    sync.Mutex
	part  string // of a line
	title string
	lines []string
}

// keptLines bounds what is kept of a step's output; a step may print for hours.
const keptLines = 200

func (l *stepLog) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part += string(data)
	for {
		line, rest, ok := strings.Cut(l.part, "\n")
		if !ok {
			if len(l.part) > 1<<16 {
				l.part = ""
			}
			return len(data), nil
		}
		l.part = rest
		l.line(strings.TrimRight(line, "\r"))
	}
}

var stepTitle = lazy.Delayed(`^(?:\[[0-9]+/[0-9]+\] )?STEP ([0-9]+/[0-9]+): (.*)`)

func (l *stepLog) line(line string) {
	if m := stepTitle.FindStringSubmatch(line); m != nil {
		l.title, l.lines = "step "+m[1]+": "+m[2], nil
		if l.begin != nil {
			l.begin(l.title)
		}
		return
	}
	if l.lines = append(l.lines, line); len(l.lines) > keptLines {
		l.lines = l.lines[len(l.lines)-keptLines:]
	}
}

// longestTitle is how much of a step is shown, in bytes; some run over a screen.
const longestTitle = 200

// explain says which step failed, how it ended, what it could not get, and what
// it printed last.
func (c Dockerfile) explain(err error, output *stepLog) error {
	output.mu.Lock()
	defer output.mu.Unlock()
	if output.title == "" {
		return fmt.Errorf("run %s: %w", c.Tree.Recipe.CrossDockerfile, container.ShortError(err))
	}
	lines := output.lines
	if output.part != "" {
		lines = append(slices.Clone(lines), output.part)
	}
	title := output.title
	if len(title) > longestTitle {
		title = strings.ToValidUTF8(title[:longestTitle], "") + " ..."
	}
	text := fmt.Sprintf("run %s: %s: %s", c.Tree.Recipe.CrossDockerfile, title, lastCause(err))
	lost := notGot(output.title, lines)
	if len(lost) > 0 {
		text += "\n  it could not get " + strings.Join(lost, ", ")
	}
	return &StepError{Text: text + container.LastLines(strings.Join(lines, "\n"), 12), Lost: lost, Err: err}
}

var exitStatus = lazy.Delayed(`exit status [0-9]+`)

// lastCause is how a step's command ended, or what buildah says of the step.
func lastCause(err error) string {
	text := container.ShortError(err).Error()
	if m := exitStatus.FindString(text); m != "" {
		return "ended with " + m
	}
	return text
}

var (
	// What programs say of what they could not get; the first group names it.
	notFound = []lazy.Regexp{
		lazy.Delayed(`E: Unable to locate (package \S+)`),
		lazy.Delayed(`E: (Package '[^']+') has no installation candidate`),
		lazy.Delayed(`(?:E|W|Err): ?Failed to fetch (\S+)`),
		lazy.Delayed(`E: The repository '(\S+)[^']*' `),
		lazy.Delayed(`(?i)could not resolve(?: host)?:? '?([A-Za-z0-9.-]+)`),
		lazy.Delayed(`unable to resolve host address ['‘"]([A-Za-z0-9.-]+)`),
		lazy.Delayed(`(?i)failed to connect to (\S+)`),
		lazy.Delayed(`(package \S+): unrecognized import path`),
		lazy.Delayed(`(https?://\S+?)[:,]? .*(?:\b404\b|\b410\b|[Nn]ot [Ff]ound)`),
		lazy.Delayed(`fatal: unable to access '([^']+)'`),
	}
	// troubled is what the output of a step says that did not get something.
	troubled = lazy.Delayed(`(?i)not found|could not|unable to|failed to|timed out|refused|unreachable|\b40[34]\b|\b410\b|not in gzip format|certificate|no such host|curl: \(`)
	address  = lazy.Delayed(`(?:https?|ftp)://[^\s'"|;)&<>]+`)
)

// notGot names what a step could not get: what its output says, else the
// addresses in the step itself, if it seems to have had trouble with them.
func notGot(title string, lines []string) []string {
	var lost []string
	add := func(what string) {
		if what = strings.TrimRight(what, ".,:"); what != "" && !slices.Contains(lost, what) && len(lost) < 8 {
			lost = append(lost, what)
		}
	}
	for _, line := range lines {
		for _, form := range notFound {
			if m := form.FindStringSubmatch(line); m != nil {
				add(m[1])
			}
		}
	}
	if len(lost) == 0 && (troubled.MatchString(strings.Join(lines, "\n")) || len(lines) == 0) {
		for _, a := range address.FindAllString(title, -1) {
			add(a)
		}
	}
	return lost
}

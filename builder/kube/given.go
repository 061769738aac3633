package kube

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/shell"
)

// scriptVariables are the variables of the user's environment that the scripts
// of a tree are given: those that upstream's build has read, over the years, by
// their exact names. No pattern would do: GO* has GOAUTH and
// GOOGLE_CREDENTIALS, KUBE_* has KUBE_TOKEN. HOSTNAME and OSTYPE are bash's own.
var scriptVariables = []string{
	"CUSTOM_OUTPUT_BINPATH", "OUT_DIR",
	"FORCE_HOST_GO", "GO_VERSION", "GOTOOLCHAIN",
	"GOFLAGS", "GOGCFLAGS", "GOLDFLAGS", "GOPROXY",
	"HOSTNAME", "OSTYPE",
	"KUBE_BASE_IMAGE_REGISTRY", "KUBE_CROSS_IMAGE", "KUBE_CROSS_VERSION",
	"KUBE_BUILD_HTTP_PROXY", "KUBE_BUILD_HTTPS_PROXY", "KUBE_BUILD_NO_PROXY",
	"KUBERNETES_HTTP_PROXY", "KUBERNETES_HTTPS_PROXY", "KUBERNETES_NO_PROXY",
	"KUBE_BUILD_PLATFORMS", "KUBE_BUILD_PPC64LE", "KUBE_BUILD_WITH_COVERAGE",
	"KUBE_CGO_OVERRIDES", "KUBE_STATIC_OVERRIDES",
	"KUBE_FASTBUILD", "KUBE_RACE", "KUBE_RUN_COPY_OUTPUT", "KUBE_VERBOSE",
	"KUBE_GIT_COMMIT", "KUBE_GIT_TREE_STATE", "KUBE_GIT_VERSION",
	"KUBE_GIT_MAJOR", "KUBE_GIT_MINOR", "KUBE_GIT_VERSION_FILE",
	"KUBERNETES_CONTRIB",
	"SOURCE_DATE_EPOCH",
}

// A given is what the scripts of a tree get of their user's environment, and
// notes what they ask for beyond that.
type given struct {
	values  map[string]string
	user    func(string) (string, bool)
	reduced map[string]bool // names of proxies whose credentials were left out
	asked   map[string]bool // names of withheld or reduced ones that were asked for
}

// newGiven takes from the environment the variables that every tree is given,
// and more: names, or NAME=value, which is taken as it stands.
func newGiven(user func(string) (string, bool), more []string) (given, error) {
	g := given{values: map[string]string{}, user: user, reduced: map[string]bool{}, asked: map[string]bool{}}
	for _, name := range scriptVariables {
		if value, ok := user(name); ok {
			g.set(name, value, isProxy(name))
		}
	}
	for _, m := range more {
		name, value, literal := strings.Cut(m, "=")
		if !shell.IsName(name) {
			return given{}, &VariableError{Name: name}
		}
		if !literal {
			var set bool
			if value, set = user(name); !set {
				continue
			}
		}
		// Of what scripts write into Dockerfiles nothing but the host is ever
		// given: it would stay in an image.
		g.set(name, value, isProxy(name) && name != "GOPROXY")
	}
	return g, nil
}

// set gives a variable, of a proxy without credentials.
func (g given) set(name, value string, proxy bool) {
	g.values[name] = value
	delete(g.reduced, name)
	if !proxy {
		return
	}
	if g.values[name] = WithoutCredentials(value); g.values[name] != value {
		g.reduced[name] = true
	}
}

// isProxy reports whether a variable names proxies.
func isProxy(name string) bool { return strings.HasSuffix(name, "PROXY") }

// lookup returns the value of a variable for a script.
func (g given) lookup(name string) (string, bool) {
	value, ok := g.values[name]
	if theirs, set := g.user(name); g.reduced[name] || !ok && set && theirs != "" {
		g.asked[name] = true
	}
	return value, ok
}

// withheld returns the names of variables that are set, that a script asked for,
// and that it was not given, or not whole.
func (g given) withheld() (names, reduced []string) {
	for _, name := range slices.Sorted(maps.Keys(g.asked)) {
		if g.reduced[name] {
			reduced = append(reduced, name)
		} else {
			names = append(names, name)
		}
	}
	return names, reduced
}

// explain says of an error about a variable that nothing sets if it is one that
// was withheld.
func (g given) explain(err error) error {
	var unset *shell.UnsetError
	if errors.As(err, &unset) && g.asked[unset.Name] {
		return &WithheldError{Name: unset.Name, Err: err}
	}
	return err
}

// WithoutCredentials takes user and password out of the URLs of proxies.
func WithoutCredentials(value string) string {
	if !strings.Contains(value, "@") {
		return value
	}
	// GOPROXY is a list with commas and bars.
	parts := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == '|' })
	for _, part := range parts {
		value = strings.Replace(value, part, hostOf(part), 1)
	}
	return value
}

// hostOf returns a proxy, as a URL or a host, without what stands before its host.
func hostOf(proxy string) string {
	scheme, rest, ok := strings.Cut(proxy, "://")
	if ok {
		scheme += "://"
	} else {
		scheme, rest = "", proxy
	}
	// The last one: passwords that should be escaped are not always.
	return scheme + rest[strings.LastIndexByte(rest, '@')+1:]
}

// A VariableError says that what was to be given to the scripts of a tree is not
// the name of a variable.
type VariableError struct {
	// Name is what was given as one.
	Name string
}

// Error implements error.
func (e *VariableError) Error() string {
	return fmt.Sprintf("%q is not the name of a variable", shell.Excerpt(e.Name))
}

// A WithheldError says that a tree's scripts need a variable that its user has
// set and they are not given.
type WithheldError struct {
	// Name is the variable's.
	Name string
	// Err says where it is needed.
	Err error
}

// Error implements error.
func (e *WithheldError) Error() string {
	return fmt.Sprintf("%v, and the %s that is set here is not given to the scripts of a tree", e.Err, e.Name)
}

// Unwrap returns where the variable is needed.
func (e *WithheldError) Unwrap() error { return e.Err }

package main

import (
	"cmp"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/trust"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flags are those of all commands, as they were given. Those with a grammar are
// texts here; settings, mirrors and work turn them into what they mean.
type flags struct {
	store     storage.Options
	isolation string
	quiet     bool
	logLevel  string
	dryRun    bool
	format    string
	timings   bool
	trust     string
	offline   bool

	tree       builder.TreeRequest
	platforms  []string
	asUpstream bool
	network    string

	mirrors   builder.Mirrors
	sources   []string // of mirrors
	platform  string   // of the base image
	tlsVerify bool

	caches cacheFlags
}

func (f *flags) global(set *pflag.FlagSet) {
	set.SortFlags = false
	set.StringVar(&f.tree.Dir, "tree", "",
		"root `directory` of the Kubernetes tree (default: the tree around the current directory)")
	set.StringArrayVar(&f.tree.Variables, "env", nil, "environment `variable` to pass to the tree's scripts, "+
		"besides those that upstream's build reads: NAME or NAME=VALUE (repeatable)")
	set.StringVar(&f.tree.GitVersion, "git-version", "", "`version` that the binaries report, such as v1.20.2 "+
		"(default: the version from git, KUBE_GIT_VERSION or a release archive)")
	set.BoolVar(&f.tree.UnknownVersion, "allow-unknown-version", false,
		"build although the binaries will report a placeholder for their version, such as v0.0.0-master+$Format:%H$")
	set.StringVar(&f.store.Root, "root", "", "`directory` of a private store for images (default: the user's store)")
	set.StringVar(&f.store.Driver, "storage-driver", os.Getenv("STORAGE_DRIVER"),
		"storage `driver`: overlay or vfs (default: the store's, or $STORAGE_DRIVER)")
	set.StringVar(&f.isolation, "isolation", os.Getenv("BUILDAH_ISOLATION"),
		"`kind` of isolation of containers: oci, rootless or chroot (default: one that works here)")
	set.BoolVarP(&f.quiet, "quiet", "q", false, "print results and errors only")
	set.StringVar(&f.logLevel, "log-level", "fatal",
		"`level` of the libraries' log: fatal, error, warn, info, debug or trace")
	set.BoolVar(&f.timings, "timings", false, "print at the end how long each part took")
	set.BoolVar(&f.dryRun, "dry-run", false, "print what would be done, and change nothing")
	set.StringVar(&f.trust, "trust", "", "`level` of trust: trees of the same level share compiled objects and images, "+
		"others share nothing (default: $"+trustVariable+"; in CI, the repository and ref; otherwise one for each tree)")
	set.BoolVar(&f.offline, "offline", false, "open no network connection (also KBUILD_OFFLINE=1)")
}

// withFlags adds flags to a command, whose help has them in the order in which they
// were added.
func withFlags(cmd *cobra.Command, kinds ...func(*pflag.FlagSet)) *cobra.Command {
	cmd.Flags().SortFlags = false
	for _, add := range kinds {
		add(cmd.Flags())
	}
	return cmd
}

// mirrorFlags say where images come from. What lies between kbuild and a registry
// is spelled as skopeo and buildah have it.
func (f *flags) mirrorFlags(set *pflag.FlagSet) {
	m := &f.mirrors
	set.StringArrayVar(&f.sources, "mirror", nil, "`source` of the base image: "+
		"a registry, a repository, or transport:reference; repeatable, tried in order "+
		"(default: $KBUILD_MIRROR, then the original registry)")
	f.connectionFlags(set)
	set.StringVar(&f.platform, "platform", "", "`platform` of the base image, as os/arch (default: this host's)")
	set.DurationVar(&m.Timeout, "timeout", time.Hour,
		"`duration` allowed for pulling an image, retries included; 0 for no limit")
	set.BoolVar(&m.Force, "force", false, "use the base image although it failed the check of its Go version and tools")
	f.frozenFlag(set)
}

// connectionFlags say what lies between kbuild and a registry, and whose images are
// taken.
func (f *flags) connectionFlags(set *pflag.FlagSet) {
	m := &f.mirrors
	set.StringVar(&m.Authfile, "authfile", os.Getenv("REGISTRY_AUTH_FILE"), "`file` with registry credentials")
	set.StringVar(&m.Creds, "creds", "", "`username:password` for the registry; give a mirror with it")
	set.StringVar(&m.CertDir, "cert-dir", "", "`directory` with the registry's certificates")
	set.BoolVar(&f.tlsVerify, "tls-verify", true, "require HTTPS and verify certificates")
	f.policyFlag(set)
	set.StringVar(&m.RegistriesConf, "registries-conf", "",
		"`file` that says which registries are mirrored, blocked or insecure")
	set.StringVar(&m.RegistriesDir, "registries.d", "", "`directory` that configures where signatures are stored")
	set.BoolVar(&m.RequireSigned, "require-signed", false, "refuse images whose signature the policy does not verify")
	set.IntVar(&m.Retries, "retry", 3, "`number` of retries for transient failures")
	set.DurationVar(&m.RetryDelay, "retry-delay", 0, "`duration` to wait before a retry (default 1s, doubled each time)")
}

func (f *flags) policyFlag(set *pflag.FlagSet) {
	set.StringVar(&f.mirrors.Policy, "policy", "",
		"signature policy `file` (default: policy.json of the user or the host)")
}

func (f *flags) frozenFlag(set *pflag.FlagSet) {
	set.BoolVar(&f.mirrors.Frozen, "frozen", false, "refuse images that kbuild.lock does not list")
	set.StringVar(&f.mirrors.LockFile, "lock", "",
		"`file` to use in the place of the tree's kbuild.lock (default: $KBUILD_LOCK, then kbuild.lock)")
}

func (f *flags) networkFlag(set *pflag.FlagSet) {
	set.StringVar(&f.network, "network", "none", "`network` of the container: none or host")
}

// outputFlag is for the commands that leave binaries.
func (f *flags) outputFlag(set *pflag.FlagSet) {
	set.StringVar(&f.tree.Output, "output", "",
		"`directory` for the binaries, as <os>/<arch>/<name> (default: where the tree's scripts put them)")
}

// platformFlag is for the commands that compile targets.
func (f *flags) platformFlag(set *pflag.FlagSet) {
	set.StringSliceVar(&f.platforms, "build-platform", nil,
		"`platform` to compile for, as os/arch; repeatable, or separated by commas "+
			"(default: the container's, or KUBE_BUILD_PLATFORMS where the tree passes it on)")
}

// upstreamFlag is for the commands that assemble the build image, or need it.
func (f *flags) upstreamFlag(set *pflag.FlagSet) {
	set.BoolVar(&f.asUpstream, "as-upstream", false,
		"run the steps of the tree's own Dockerfile that need the network, with the network (1.0 and 1.1)")
}

func (f *flags) formatFlag(set *pflag.FlagSet) {
	set.StringVar(&f.format, "format", "", "`format` of the output: json (default: text)")
}

// settings are what every verb is told, and the Reporter that it speaks through.
// An error is one of usage.
func (a *app) settings(cmd *cobra.Command) (s builder.Settings, err error) {
	s = builder.Settings{Store: a.store, DryRun: a.dryRun}
	if s.Isolation, err = container.ParseIsolation(a.isolation); err != nil {
		return s, &usageError{err}
	}
	if a.format != "" && a.format != "json" {
		return s, &usageError{fmt.Errorf("format %q: it is json or nothing", a.format)}
	}
	if d := a.store.Driver; d != "" && d != "overlay" && d != "vfs" {
		return s, &usageError{fmt.Errorf("storage driver %q: it is overlay or vfs", d)}
	}
	if err := container.SetLogging(a.logLevel, a.stderr); err != nil {
		return s, &usageError{err}
	}
	if s.Offline, err = a.isOffline(cmd.Flags()); err != nil {
		return s, &usageError{err}
	}
	if s.Level, err = a.givenLevel(cmd.Flags()); err != nil {
		return s, &usageError{err}
	}
	a.out.Reporting = builder.Reporting{
		Quiet: a.quiet, Terminal: isTerminal(a.stderr), Format: a.format, LogLevel: a.logLevel,
		Timings: a.timings, Sent: a.out.Sent,
	}
	s.CacheDir, err = cacheDir(a.store)
	return s, err
}

// settingsAndMirrors are the settings of a verb that asks mirrors, and which those are.
func (a *app) settingsAndMirrors(cmd *cobra.Command) (s builder.Settings, m builder.Mirrors, err error) {
	if s, err = a.settings(cmd); err == nil {
		m, err = a.mirrorsOf(cmd)
	}
	return s, m, err
}

// mirrorsOf are where the flags say that images come from.
func (a *app) mirrorsOf(cmd *cobra.Command) (m builder.Mirrors, err error) {
	m = a.mirrors
	texts := a.sources
	if len(texts) == 0 {
		texts = listOf("KBUILD_MIRROR")
	}
	if m.Sources, err = parsed(texts, mirror.ParseSource); err != nil {
		return m, &usageError{err}
	}
	if m.LockFile = cmp.Or(m.LockFile, os.Getenv("KBUILD_LOCK")); m.LockFile != "" {
		if m.LockFile, err = filepath.Abs(m.LockFile); err != nil {
			return m, fmt.Errorf("lock: %w", err)
		}
	}
	if m.Platform, err = mirror.ParsePlatform(a.platform); err != nil {
		return m, &usageError{err}
	}
	switch {
	case m.Retries < 0:
		return m, &usageError{fmt.Errorf("--retry %d: must not be negative", m.Retries)}
	case m.RetryDelay < 0:
		return m, &usageError{fmt.Errorf("--retry-delay %s: must not be negative", m.RetryDelay)}
	case m.Timeout < 0:
		return m, &usageError{fmt.Errorf("--timeout %s: must not be negative", m.Timeout)}
	}
	if cmd.Flags().Changed("tls-verify") {
		m.TLSVerify = &a.tlsVerify
	}
	return m, nil
}

// listOf is a variable that holds several values.
func listOf(variable string) []string {
	return strings.FieldsFunc(os.Getenv(variable), func(r rune) bool { return r == ' ' || r == ',' })
}

// parsed is what texts mean.
func parsed[T any](texts []string, parse func(string) (T, error)) (values []T, err error) {
	for _, text := range texts {
		value, err := parse(text)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// request is a build as the flags say, with all its steps.
func (a *app) request(cmd *cobra.Command, work builder.Work) (req builder.Request, err error) {
	req = builder.Request{
		Tree: a.tree, From: builder.StepMirror, Until: builder.StepCompile, Work: work, AsUpstream: a.asUpstream,
	}
	if req.Settings, req.Mirrors, err = a.settingsAndMirrors(cmd); err != nil {
		return req, err
	}
	if req.Caches, err = a.cachesOf(cmd.Flags()); err != nil {
		return req, err
	}
	if req.Network, err = container.ParseNetwork(a.network); err != nil {
		return req, &usageError{err}
	}
	if req.Work.Platforms, err = a.buildPlatforms(); err != nil {
		return req, err
	}
	if req.Offline && req.Network == container.NetworkHost {
		return req, wrongUsage("leave out one of them", "--offline and --network host exclude each other")
	}
	return req, nil
}

// buildPlatforms are those to compile for.
func (f *flags) buildPlatforms() ([]kube.Platform, error) {
	platforms, err := kube.ParsePlatforms(f.platforms)
	if err != nil {
		return nil, wrong("--build-platform", err)
	}
	return platforms, nil
}

// targets is the work of a command with targets and, after --, arguments.
func targets(cmd *cobra.Command, args []string) builder.Work {
	work := builder.Work{Targets: args}
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		work.Targets, work.Arguments = args[:dash], args[dash:]
	}
	return work
}

// isOffline says whether no connection may be attempted: what the flag says
// where it was given, else the variable.
func (a *app) isOffline(f *pflag.FlagSet) (bool, error) {
	value := os.Getenv("KBUILD_OFFLINE")
	if value == "" || f.Changed("offline") {
		return a.offline, nil
	}
	offline, err := strconv.ParseBool(value)
	if err != nil {
		return false, &hinted{fmt.Errorf("KBUILD_OFFLINE=%q is not true or false", value), "set it to 1, or unset it"}
	}
	return offline, nil
}

const trustVariable = "KBUILD_TRUST"

// givenLevel is the level of trust that the user names, or the zero value.
func (a *app) givenLevel(f *pflag.FlagSet) (trust.Level, error) {
	name := a.trust
	if name == "" && !f.Changed("trust") {
		if name = os.Getenv(trustVariable); name == "" {
			return trust.Level{}, nil
		}
	}
	return trust.Parse(name)
}

// cacheDir is where kbuild keeps what it can make again: below the private
// store where there is one, else the user's cache directory.
func cacheDir(store storage.Options) (string, error) {
	if store.Root != "" {
		dir, err := filepath.Abs(filepath.Join(store.Root, "kbuild"))
		if err != nil {
			return "", fmt.Errorf("private store: %w", err)
		}
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if me, e := user.Current(); err != nil && e == nil && me.HomeDir != "" {
		// cron and service managers may set no HOME.
		dir, err = filepath.Join(me.HomeDir, ".cache"), nil
	}
	if err != nil {
		return "", &hinted{fmt.Errorf("find the user's cache directory: %w", err), "set HOME or XDG_CACHE_HOME"}
	}
	return filepath.Join(dir, "kbuild"), nil
}

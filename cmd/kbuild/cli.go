package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/storage"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
)

// version is set by the linker.
var version = "unknown"

// app is one invocation: its flags and streams.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	tree      treeFlags
	store     storage.Options
	isolation string
	network   string
	quiet     bool
	logLevel  string
	dryRun    bool
	mirror    mirrorFlags
	tlsVerify bool
	format    string
	timings   bool
	trust     string
	offline   bool

	status int
	spans  spans
	seen   sourceRecord
}

// run is the program: arguments in, exit status out.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, spans: spans{last: time.Now()}}
	cmd := a.root()
	cmd.SetArgs(args)
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if err := cmd.ExecuteContext(ctx); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return report(stderr, err)
	}
	return a.status
}

const rootLong = `kbuild compiles Kubernetes from source inside a container, with no daemon and
no root. In a Kubernetes tree

    kbuild --mirror index.alauda.cn/xuxinkun/kubernetes cmd/kubelet

leaves _output/dockerized/bin/linux/amd64/kubelet. Without a target it builds
everything the tree's own command builds. What follows -- goes to that command.`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:                        "kbuild [flags] [TARGET...] [-- ARGUMENT...]",
		Short:                      "compile Kubernetes in a container, with no daemon and no root",
		Long:                       rootLong,
		Version:                    version,
		Args:                       cobra.ArbitraryArgs,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
		RunE:                       func(cmd *cobra.Command, args []string) error { return a.build(cmd, goalBuild, args) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{&hinted{err, "see " + cmd.CommandPath() + " --help"}}
	})
	root.SetVersionTemplate("kbuild {{.Version}}\n")
	global := root.PersistentFlags()
	global.SortFlags = false
	global.StringVar(&a.tree.dir, "tree", "", "`directory` of the Kubernetes tree (default: the one around the current directory)")
	a.tree.versionFlag(global)
	global.StringVar(&a.store.Root, "root", "", "keep images in a private store in this `directory`")
	global.StringVar(&a.store.Driver, "storage-driver", os.Getenv("STORAGE_DRIVER"), "storage `driver`: overlay or vfs")
	global.StringVar(&a.isolation, "isolation", os.Getenv("BUILDAH_ISOLATION"), "run containers with `type` oci, rootless or chroot (default: what works here)")
	global.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing but results and errors")
	global.StringVar(&a.logLevel, "log-level", "fatal", "what the libraries log: fatal (next to nothing), error, warn, info, debug or trace")
	global.BoolVar(&a.timings, "timings", false, "say at the end where the time went")
	global.BoolVar(&a.dryRun, "dry-run", false, "say what would be done and do nothing")

	a.trustFlag(global)
	a.offlineFlag(global)
	a.mirrorFlags(root.Flags())
	a.networkFlag(root.Flags())
	a.tree.platformFlag(root.Flags())
	a.tree.upstreamFlag(root.Flags())
	root.AddCommand(
		a.checkCommand(), a.mirrorCommand(), a.lockCommand(), a.bundleCommand(), a.imageCommand(), a.compileCommand(), a.runCommand(), a.shellCommand(),
		a.crossCommand(), a.imagesCommand(), a.cleanCommand(), a.pruneCommand(), a.inspectCommand(), a.demoCommand(), a.versionCommand(), a.removeCommand(),
	)
	return root
}

func (a *app) mirrorFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringArrayVar(&a.mirror.Sources, "mirror", nil, "`source` of the base image: a registry, a repository in one, or transport:reference (default $KBUILD_MIRROR, then the original registry)")
	f.StringVar(&a.mirror.Authfile, "authfile", os.Getenv("REGISTRY_AUTH_FILE"), "`file` with registry credentials")
	f.StringVar(&a.mirror.Creds, "creds", "", "`username:password` for the registry")
	f.StringVar(&a.mirror.CertDir, "cert-dir", "", "`directory` with certificates for the registry")
	f.BoolVar(&a.tlsVerify, "tls-verify", true, "require HTTPS and verify certificates")
	f.StringVar(&a.mirror.Platform, "platform", "", "`os/arch` of the base image (default: this host's)")
	f.StringVar(&a.mirror.Policy, "policy", "", "signature policy `file`")
	a.registryFlags(f)
	f.BoolVar(&a.mirror.Force, "force", false, "take a base image that is not what its name promises")
	a.frozenFlag(f)
}

func (a *app) networkFlag(f *pflag.FlagSet) {
	f.StringVar(&a.network, "network", "none", "the container's network: none or host")
}

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [TARGET...]", Short: "look at the host and the tree, and say what to fix",
		RunE: func(cmd *cobra.Command, args []string) error { return a.check(cmd, args) },
	}
}

func (a *app) mirrorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "mirror", Short: "bring the base image into the store under the name the tree asks for",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return a.build(cmd, goalMirror, nil) },
	}
	a.mirrorFlags(cmd.Flags())
	return cmd
}

func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "image", Short: "write the build context and assemble the kube-build image",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return a.build(cmd, goalImage, nil) },
	}
	a.mirrorFlags(cmd.Flags())
	a.tree.upstreamFlag(cmd.Flags())
	return cmd
}

func (a *app) compileCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "compile [TARGET...] [-- ARGUMENT...]", Short: "compile in the kube-build image assembled before",
		RunE: func(cmd *cobra.Command, args []string) error { return a.build(cmd, goalCompile, args) },
	}
	a.networkFlag(cmd.Flags())
	a.tree.platformFlag(cmd.Flags())
	a.tree.upstreamFlag(cmd.Flags())
	a.frozenFlag(cmd.Flags())
	return cmd
}

func (a *app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run [flags] [--] COMMAND [ARGUMENT...]", Short: "run any command in the build container",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{&hinted{fmt.Errorf("run: no command given"), "for example: kbuild run -- hack/test-go.sh"}}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.build(cmd, goalRun, args) },
	}
	cmd.Flags().SetInterspersed(false)
	a.mirrorFlags(cmd.Flags())
	a.networkFlag(cmd.Flags())
	a.tree.upstreamFlag(cmd.Flags())
	return cmd
}

func (a *app) shellCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "shell", Short: "open a shell in the build container",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return a.build(cmd, goalShell, nil) },
	}
	a.mirrorFlags(cmd.Flags())
	a.networkFlag(cmd.Flags())
	a.tree.upstreamFlag(cmd.Flags())
	return cmd
}

func (a *app) imagesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "images", Short: "list the kube-cross and kube-build images in the store",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return a.images(cmd) },
	}
	a.formatFlag(cmd)
	return cmd
}

func (a *app) cleanCommand() *cobra.Command {
	return &cobra.Command{
		Use: "clean", Short: "remove _output, the tree's kube-build images and what is kept between runs",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return a.clean(cmd) },
	}
}

func (a *app) pruneCommand() *cobra.Command {
	return &cobra.Command{
		Use: "prune", Short: "remove what is kept, and the images, of trees that are no longer there",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return a.prune(cmd) },
	}
}

func (a *app) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect [TARGET...]", Short: "show all kbuild knows about the tree, touching nothing",
		RunE: func(cmd *cobra.Command, args []string) error { return a.inspect(cmd, args) },
	}
	a.formatFlag(cmd)
	a.tree.platformFlag(cmd.Flags())
	return cmd
}

func (a *app) formatFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.format, "format", "", "`format` of the output: json, or nothing for people")
}

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "do the whole job on a small tree, offline",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find kbuild's own path: %w", err)
			}
			return runDemo(cmd.Context(), self, a.stdout)
		},
	}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print kbuild's version",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			_, err := fmt.Fprintf(a.stdout, "kbuild %s\n", version)
			return err
		},
	}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{&hinted{fmt.Errorf("%s takes no argument, got %q", cmd.Name(), args[0]), "see " + cmd.CommandPath() + " --help"}}
	}
	return nil
}

// parsed turns the flags that have a grammar into their types.
func (a *app) parsed(cmd *cobra.Command) (request, error) {
	usage := func(err error) (request, error) { return request{}, &usageError{err} }
	isolation, err := container.ParseIsolation(a.isolation)
	if err != nil {
		return usage(err)
	}
	network, err := container.ParseNetwork(a.network)
	if err != nil {
		return usage(err)
	}
	if a.format != "" && a.format != "json" {
		return usage(fmt.Errorf("format %q: it is json or nothing", a.format))
	}
	if a.store.Driver != "" && a.store.Driver != "overlay" && a.store.Driver != "vfs" {
		return usage(fmt.Errorf("storage driver %q: it is overlay or vfs", a.store.Driver))
	}
	if err := container.SetLogging(a.logLevel, a.stderr); err != nil {
		return usage(err)
	}
	m := a.mirror
	if len(m.Sources) == 0 {
		m.Sources = strings.FieldsFunc(os.Getenv("KBUILD_MIRROR"), func(r rune) bool { return r == ' ' || r == ',' })
	}
	if _, err := m.sources(); err != nil {
		return usage(err)
	}
	if err := m.checkRegistryFlags(); err != nil {
		return usage(err)
	}
	if f := cmd.Flags().Lookup("tls-verify"); f != nil && f.Changed {
		m.TLSVerify = &a.tlsVerify
	}
	offline, err := a.isOffline(cmd.Flags())
	if err != nil {
		return usage(err)
	}
	if offline && network == container.NetworkHost {
		return usage(&hinted{fmt.Errorf("--offline and --network host exclude each other"), "leave out one of them"})
	}
	level, err := a.givenLevel(cmd.Flags())
	if err != nil {
		return usage(err)
	}
	cache, err := cacheDir(a.store)
	if err != nil {
		return request{}, err
	}
	return request{
		Store: a.store, Isolation: isolation, Network: network, Mirror: m, Quiet: a.quiet, Format: a.format, Timings: a.timings,
		LogLevel: a.logLevel, Offline: offline, Terminal: isTerminal(a.stderr), CacheDir: cache, Level: level,
	}, nil
}

// Package container runs one command in one container of an image of the store,
// and one Dockerfile: with an OCI runtime or in buildah's chroot, whichever works
// here. It knows buildah and the host, and nothing of Kubernetes, nor where an
// image came from.
package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/containers/buildah"
	"github.com/containers/buildah/define"
	nettypes "github.com/containers/common/libnetwork/types"
	"github.com/kbuild/kbuild/storage"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Network is what a container sees of the network.
type Network string

const (
	// NetworkNone is loopback and nothing else.
	NetworkNone Network = "none"
	// NetworkHost is the host's network.
	NetworkHost Network = "host"
)

// ParseNetwork reads the value of --network; "" is none.
func ParseNetwork(s string) (Network, error) {
	switch n := Network(s); n {
	case "":
		return NetworkNone, nil
	case NetworkNone, NetworkHost:
		return n, nil
	}
	return "", fmt.Errorf("network %q: it is none or host", s)
}

// Mount binds a directory or file of the host into the container.
type Mount struct {
	Host, Container string
	ReadOnly        bool
}

// Options says what runs in a container.
type Options struct {
	Image       string // id
	Tree        string // hash of the tree's path, a part of the container's name
	Command     []string
	Environment []string // KEY=value, over the image's own
	Mounts      []Mount
	Network     Network
	Workdir     string // "": the image's own
	Search      string // "": the image's PATH; otherwise a directory that comes before it
	Terminal    bool   // give the command a terminal
	Trial       bool   // nothing is in the container: at the end it is not waited for
	Host        Host
	Stdin       io.Reader // nil: nothing to read
	Stdout      io.Writer // nil: nobody reads it
	Stderr      io.Writer // nil: nobody reads it
	// Before is called before the command runs, and After when it ended with
	// status 0, with the directory at which the container's root is mounted.
	// Whatever ran in the container may have put links there.
	Before, After func(root string) error
}

// Run runs a command in a new container of an image and removes the container
// again. The status is the command's, 127 when the image does not have it, 126
// when it cannot be executed, 128 and the signal's number when a signal ended
// it. The error says that kbuild itself failed.
func Run(ctx context.Context, store *storage.Store, opts Options) (status int, err error) {
	err = inContainer(ctx, store, opts, func(b *buildah.Builder, root string) error {
		if err := CheckRoot(root); err != nil {
			return err
		}
		if opts.Before != nil {
			if err := opts.Before(root); err != nil {
				return fmt.Errorf("look into the container: %w", err)
			}
		}
		var command []string
		command, opts.Environment = inWrapper(opts.Command, opts.Environment, opts.Search)
		said, err := start(ctx, settingsOf(b), root, command, opts)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var errStatus error
		if status, errStatus = commandStatus(said); errStatus != nil {
			return fmt.Errorf("run the container: %w", cmp.Or(err, errStatus))
		}
		if status == 0 && opts.After != nil {
			if err := opts.After(root); err != nil {
				return fmt.Errorf("look into the container: %w", err)
			}
		}
		return nil
	})
	return status, err
}

// inContainer makes a working container, mounts it at root while do has it, and
// removes it.
func inContainer(
	ctx context.Context, store *storage.Store, opts Options, do func(b *buildah.Builder, root string) error,
) (err error) {
	b, err := New(ctx, store, opts)
	if err != nil {
		return err
	}
	defer func() {
		if e := b.Delete(); e != nil {
			err = errors.Join(err, fmt.Errorf("remove the container: %w", e))
		}
	}()
	root, err := b.Mount(b.MountLabel)
	if err != nil {
		return fmt.Errorf("mount the container: %w", err)
	}
	defer func() {
		if e := b.Unmount(); e != nil {
			err = errors.Join(err, fmt.Errorf("unmount the container: %w", e))
		}
	}()
	return do(b, root)
}

// start runs a command in a container that is mounted at root, and returns what
// the wrapper said of its status. The error may be that of the command.
func start(ctx context.Context, image settings, root string, command []string, opts Options) (said []byte, err error) {
	if opts.Stdin == nil {
		opts.Stdin = strings.NewReader("")
	}
	if opts.Stdout == nil {
		opts.Stdout = io.Discard
	}
	if opts.Stderr == nil {
		opts.Stderr = io.Discard
	}
	mounts, forget, err := spelled(opts.Mounts, opts.Host.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, forget()) }()
	opts.Mounts = mounts
	spec, err := containerSpec(image, root, command, opts)
	if err != nil {
		return nil, err
	}
	return opts.Host.run(ctx, spec, opts)
}

// passOn makes the end of ctx known to buildah's containers, for which no
// function of buildah takes a context: each passes a SIGTERM of this process on
// to what runs in it. A container that is just being started misses it, so it
// comes again, until stop is called.
func passOn(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
		case <-done:
			return
		}
		for {
			unix.Kill(os.Getpid(), unix.SIGTERM) //nolint:errcheck // to ourselves
			select {
			case <-done:
				return
			case <-time.After(time.Second):
			}
		}
	}()
	return func() { close(done) }
}

// New makes a working container, which the caller deletes. Its name tells whose
// it is.
func New(ctx context.Context, store *storage.Store, opts Options) (*buildah.Builder, error) {
	policy, err := opts.Host.PolicyFile()
	if err != nil {
		return nil, err
	}
	b, err := buildah.NewBuilder(ctx, store.Unwrap(), buildah.BuilderOptions{
		FromImage:           opts.Image,
		Container:           containerMark(opts.Tree),
		PullPolicy:          define.PullNever,
		SystemContext:       store.SystemContext(opts.Host.Dir),
		SignaturePolicyPath: policy,
		Isolation:           opts.Host.Isolation.define(),
		NamespaceOptions:    namespaces(opts.Network),
		ConfigureNetwork:    configure(opts.Network),
		NetworkInterface:    noNetwork{},
		CommonBuildOpts:     commonOptions(),
		Logger:              logger(),
		ReportWriter:        io.Discard,
	})
	if err != nil {
		return nil, fmt.Errorf("create a container of image %s: %w", opts.Image, err)
	}
	return b, nil
}

// statusLimit bounds what the wrapper, or who takes its place, may write.
const statusLimit = 16

func commandStatus(said []byte) (int, error) {
	if len(said) == 0 {
		return 0, errors.New("it ended before its command did")
	}
	status, err := strconv.Atoi(strings.TrimSuffix(string(said), "\n"))
	if err != nil || status < 0 || status > 255 {
		return 0, fmt.Errorf("the command's status is %q", said)
	}
	return status, nil
}

// commonOptions are those buildah requires of everyone. Without limits of our
// own it would raise them, which a root without CAP_SYS_RESOURCE may not.
func commonOptions() *define.CommonBuildOptions {
	common := &define.CommonBuildOptions{}
	for _, l := range ulimits() {
		value := "-1"
		if l.max != unix.RLIM_INFINITY {
			value = fmt.Sprint(l.max)
		}
		common.Ulimit = append(common.Ulimit, l.name+"="+value+":"+value)
	}
	return common
}

func namespaces(network Network) define.NamespaceOptions {
	return define.NamespaceOptions{{Name: string(specs.NetworkNamespace), Host: network == NetworkHost}}
}

// configure lets buildah set a network up only where it is the host's: "disabled"
// would take that away, too.
func configure(network Network) define.NetworkConfigurationPolicy {
	if network == NetworkHost {
		return define.NetworkDefault
	}
	return define.NetworkDisabled
}

// noNetwork stands where buildah wants an interface to netavark, even when no
// network is to be configured: without it NewBuilder fails where netavark is
// not installed.
type noNetwork struct{ nettypes.ContainerNetwork }

// containerMark names the working containers of a tree, so that those of a
// killed run can be told from everybody else's.
func containerMark(tree string) string { return "kbuild-" + tree }

// RemoveLeftovers removes the working containers, and the images that never got
// their names, that a killed kbuild left in the store. The caller holds the tree's
// lock, so none of them is in use.
func RemoveLeftovers(store *storage.Store, tree string) error {
	s := store.Unwrap()
	containers, err := s.Containers()
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, c := range containers {
		for _, name := range c.Names {
			if !strings.Contains(name, containerMark(tree)) {
				continue
			}
			if err := store.DeleteContainer(c.ID); err != nil {
				return fmt.Errorf("%s, left by an earlier run: %w", name, err)
			}
			break
		}
	}
	return store.RemoveInterim(tree)
}

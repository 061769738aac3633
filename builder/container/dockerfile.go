package container

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/containers/buildah/define"
	"github.com/containers/buildah/imagebuildah"
	"github.com/kbuild/kbuild/storage"
)

// Dockerfile is a Dockerfile that buildah runs, for an image.
type Dockerfile struct {
	File    string   // path
	Context string   // directory
	From    string   // id of the image it begins with, "" for what it says
	Args    []string // NAME=value
	Labels  []string // NAME=value
	// Network is what its commands see of the network; "" is none. With the
	// host's, buildah hands its own environment's proxies on to them, and only so
	// do they stay out of the image's history.
	Network Network
	// Time is that of every file that is written; nil leaves them theirs.
	Time *time.Time
	Tree string // hash of the tree's path, a part of the containers' names
	Host Host
	// Log receives what buildah and the commands print.
	Log io.Writer
}

// RunDockerfile runs a Dockerfile with buildah, never pulling, and returns the id
// of the image. When ctx ends the error is that of ctx.
func RunDockerfile(ctx context.Context, store *storage.Store, d Dockerfile) (id string, err error) {
	options, err := buildOptions(store, d)
	if err != nil {
		return "", err
	}
	if d.From != "" {
		if err := store.Mount(d.From, CheckRoot); err != nil {
			return "", err
		}
	}
	stop := passOn(ctx)
	id, _, err = imagebuildah.BuildDockerfiles(ctx, store.Unwrap(), options, d.File)
	stop()
	if err != nil && ctx.Err() != nil {
		return "", ctx.Err()
	}
	return id, err
}

// buildOptions fills buildah's wide struct; the one place that does.
func buildOptions(store *storage.Store, d Dockerfile) (define.BuildOptions, error) {
	policy, err := d.Host.PolicyFile()
	if err != nil {
		return define.BuildOptions{}, err
	}
	network := d.Network
	if network == "" {
		network = NetworkNone
	}
	program, err := d.Host.program()
	if err != nil {
		return define.BuildOptions{}, err
	}
	common := commonOptions()
	if common.SeccompProfilePath, err = d.Host.profileFile(); err != nil {
		return define.BuildOptions{}, err
	}
	common.HTTPProxy = network == NetworkHost
	args := map[string]string{}
	for _, a := range d.Args {
		name, value, _ := strings.Cut(a, "=")
		args[name] = value
	}
	return define.BuildOptions{
		ContextDirectory:        d.Context,
		PullPolicy:              define.PullNever,
		From:                    d.From,
		OutputFormat:            define.OCIv1ImageManifest,
		Timestamp:               d.Time,
		Isolation:               d.Host.Isolation.define(),
		Runtime:                 program,
		RuntimeArgs:             d.Host.runtimeArgs(),
		Args:                    args,
		Labels:                  d.Labels,
		NamespaceOptions:        namespaces(network),
		ConfigureNetwork:        configure(network),
		NetworkInterface:        noNetwork{},
		CommonBuildOpts:         common,
		SystemContext:           store.SystemContext(d.Host.Dir),
		SignaturePolicyPath:     policy,
		ContainerSuffix:         containerMark(d.Tree),
		RemoveIntermediateCtrs:  true,
		ForceRmIntermediateCtrs: true,
		Layers:                  false,
		Out:                     d.Log,
		Err:                     d.Log,
		ReportWriter:            io.Discard,
	}, nil
}

// ShortError keeps the end of errors in which the copier prints its whole
// request, structs of kilobytes, before the cause, and the beginning of those
// that print a whole step of a Dockerfile after it.
func ShortError(err error) error {
	text := err.Error()
	if i := strings.LastIndex(text, "copier: "); i >= 0 {
		text = text[i+len("copier: "):]
	}
	text, _, _ = strings.Cut(text, " &imagebuilder.Step{")
	text = strings.Replace(text, "while running runtime: ", "", 1)
	if text == err.Error() {
		return err
	}
	return &shortened{text, err}
}

type shortened struct {
	text string
	err  error
}

func (e *shortened) Error() string { return e.text }

func (e *shortened) Unwrap() error { return e.err }

// LastLines shows the end of an output, indented, after an error.
func LastLines(output string, n int) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return ""
	}
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return "\n    " + strings.Join(lines, "\n    ")
}

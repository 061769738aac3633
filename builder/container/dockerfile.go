package container

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/containers/buildah/define"
	"github.com/containers/buildah/imagebuildah"
	"github.com/kbuild/kbuild/builder/kube/dockerfile"
	"github.com/kbuild/kbuild/storage"
)

// Dockerfile is a Dockerfile that buildah runs, for an image.
type Dockerfile struct {
	File    string   // path
	Context string   // directory
	From    string   // id of the image it begins with, "" for what it says
	Args    []string // NAME=value
	Labels  []string // NAME=value
	// Network is what its commands see of the network; "" is none.
	Network Network
	// Proxies are variables, NAME=value, that its commands are given with the
	// host's network. They are no part of the image, nor of its history.
	Proxies []string
	// Time is that of every file that is written; nil leaves them theirs.
	Time *time.Time
	Tree string // hash of the tree's path, a part of the containers' names
	Host Host
	// Log receives what buildah and the commands print.
	Log io.Writer `json:"-"`
}

// RunDockerfile runs a Dockerfile with buildah, never pulling, and returns the id
// of the image. When ctx ends the error is that of ctx.
//
// [CheckDockerfile] comes before.
func RunDockerfile(ctx context.Context, store *storage.Store, d Dockerfile) (id string, err error) {
	if err := CheckDockerfile(store, d); err != nil {
		return "", err
	}
	options, err := buildOptions(store, d)
	if err != nil {
		return "", err
	}
	restore, err := setProxies(d.Proxies)
	if err != nil {
		return "", err
	}
	defer func() { err = cmp.Or(err, restore()) }()
	stop := passOn(ctx)
	id, _, err = imagebuildah.BuildDockerfiles(ctx, store.Unwrap(), options, d.File)
	stop()
	if err != nil && ctx.Err() != nil {
		return "", ctx.Err()
	}
	return id, err
}

// CheckDockerfile is the gate before buildah: it returns an error for what a
// stranger's Dockerfile, or the ONBUILD of its base images, may not ask for, and
// for a base image in which no container can be started, see [CheckRoot].
func CheckDockerfile(store *storage.Store, d Dockerfile) error {
	text, err := os.ReadFile(d.File)
	if err != nil {
		return err
	}
	file, err := dockerfile.Parse(d.File, text)
	if err != nil {
		return err
	}
	bases := []string{d.From}
	if d.From != "" {
		err = file.Check()
	} else {
		bases = imageIDs(file)
		err = file.Check(bases...)
	}
	for _, id := range bases {
		if err != nil {
			break
		}
		if err = checkTriggers(store, id); err == nil {
			err = store.Mount(id, CheckRoot)
		}
	}
	return err
}

// imageIDs are the images that stages begin with by their ids.
func imageIDs(file dockerfile.File) []string {
	ids := []string{}
	for _, i := range file.Instructions {
		if i.Name != "from" || len(i.Words) == 0 {
			continue
		}
		if id, err := hex.DecodeString(i.Words[0]); err == nil && len(id) == sha256.Size {
			ids = append(ids, i.Words[0])
		}
	}
	return ids
}

func checkTriggers(store *storage.Store, id string) error {
	data, err := store.Config(id)
	if err != nil {
		return err
	}
	var image struct {
		Config struct{ OnBuild []string } `json:"config"`
	}
	if err := json.Unmarshal(data, &image); err != nil {
		return fmt.Errorf("configuration of image %s: %w", id, err)
	}
	return dockerfile.CheckTriggers("image "+id, image.Config.OnBuild)
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
	interim, err := storage.InterimName(d.Tree)
	if err != nil {
		return define.BuildOptions{}, err
	}
	return define.BuildOptions{
		Output:                  interim.String(),
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

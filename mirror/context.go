package mirror

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/pkg/docker/config"
	"github.com/containers/image/v5/pkg/sysregistriesv2"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"

	"github.com/kbuild/kbuild/storage"
)

// platform is what images are made for.
type platform struct{ os, arch, variant string }

func (p platform) String() string {
	s := p.os + "/" + p.arch
	if p.variant != "" {
		s += "/" + p.variant
	}
	return s
}

// parsePlatform reads os/arch or os/arch/variant; empty is this host's linux.
func parsePlatform(s string) (platform, error) {
	if s == "" {
		return platform{os: "linux", arch: runtime.GOARCH}, nil
	}
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return platform{}, withHint(fmt.Errorf("platform %q is not os/arch or os/arch/variant", s), "write it like linux/amd64")
	}
	for _, p := range parts {
		if p == "" {
			return platform{}, withHint(fmt.Errorf("platform %q is not os/arch or os/arch/variant", s), "write it like linux/amd64")
		}
	}
	p := platform{os: parts[0], arch: parts[1]}
	if len(parts) == 3 {
		p.variant = parts[2]
	}
	return p, nil
}

// settings are the options of a pull, read and checked.
type settings struct {
	platform   platform
	policy     *signature.Policy
	policyFile string
	creds      *types.DockerAuthConfig
	authFile   string
	certDir    string
	tlsVerify  types.OptionalBool
	storeRoot  string
}

// readSettings checks the options before anything is looked for.
func readSettings(store *storage.Store, sources []Source, opts Options) (settings, error) {
	set := settings{tlsVerify: opts.TLSVerify, certDir: opts.CertDir, storeRoot: store.Root()}
	var err error
	if set.platform, err = parsePlatform(opts.Platform); err != nil {
		return settings{}, err
	}
	if set.policy, set.policyFile, err = loadPolicy(opts.Policy, policyFiles()); err != nil {
		return settings{}, err
	}
	if opts.Creds != "" {
		user, password, ok := strings.Cut(opts.Creds, ":")
		if !ok || user == "" {
			return settings{}, withHint(errors.New("the credentials are not user:password"), "write --creds user:password, or use --authfile")
		}
		if hosts := registries(sources); len(hosts) > 1 {
			return settings{}, withHint(
				fmt.Errorf("one user and password would be sent to several registries: %s", strings.Join(hosts, ", ")),
				"use --authfile, which keeps them apart")
		}
		set.creds = &types.DockerAuthConfig{Username: user, Password: password}
	}
	set.authFile = opts.Authfile
	if set.authFile == "" {
		set.authFile = os.Getenv("REGISTRY_AUTH_FILE")
	}
	// The library takes a missing file or directory for an empty one.
	if set.authFile != "" {
		if _, err := os.Stat(set.authFile); err != nil {
			return settings{}, fmt.Errorf("credentials: %w", err)
		}
	}
	if set.certDir != "" {
		if _, err := os.ReadDir(set.certDir); err != nil {
			return settings{}, fmt.Errorf("certificates: %w", err)
		}
	}
	return set, nil
}

// registries are the hosts of the registries among the sources.
func registries(sources []Source) []string {
	var hosts []string
	seen := map[string]bool{}
	for _, s := range sources {
		if s.transport != transportDocker {
			continue
		}
		if host := reference.Domain(s.named); !seen[host] {
			seen[host] = true
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// context is the one place where the library's types.SystemContext is filled.
// What it leaves out is read from the user's and the system's files:
// registries.conf, registries.d, auth.json, certs.d.
func (set settings) context(source Source, scratch string) *types.SystemContext {
	sys := &types.SystemContext{
		OSChoice:             set.platform.os,
		ArchitectureChoice:   set.platform.arch,
		VariantChoice:        set.platform.variant,
		AuthFilePath:         set.authFile,
		BigFilesTemporaryDir: scratch,
		// Beside the layers it speaks of, so that a private store leaves no
		// traces elsewhere.
		BlobInfoCacheDir: filepath.Join(set.storeRoot, "cache"),
		DockerCertPath:   set.certDir,
		OCICertPath:      set.certDir,
	}
	switch set.tlsVerify {
	case types.OptionalBoolTrue:
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolFalse
	case types.OptionalBoolFalse:
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolTrue
		sys.OCIInsecureSkipTLSVerify = true
	}
	if source.transport == transportDocker {
		sys.DockerAuthConfig = set.creds
		if set.insecure(source) {
			sys.DockerInsecureSkipTLSVerify = types.OptionalBoolTrue
		}
	}
	return sys
}

// insecure tells whether a registry is taken without TLS only because it is on
// loopback. The library has no such exception; where registries.conf sends the
// source elsewhere, that has to be on loopback, too.
func (set settings) insecure(source Source) bool {
	if source.transport != transportDocker || set.tlsVerify != types.OptionalBoolUndefined {
		return false
	}
	if !isLoopback(reference.Domain(source.named)) {
		return false
	}
	mapped, err := sysregistriesv2.FindRegistry(nil, source.named.Name())
	if err != nil || mapped == nil {
		return err == nil
	}
	pulls, err := mapped.PullSourcesFromReference(source.named)
	if err != nil {
		return false
	}
	for _, p := range pulls {
		if !isLoopback(reference.Domain(p.Reference)) {
			return false
		}
	}
	return true
}

// credentials tells whether the user has given any for a source.
func (set settings) credentials(source Source) bool {
	if source.transport != transportDocker {
		return false
	}
	if set.creds != nil {
		return true
	}
	auth, err := config.GetCredentialsForRef(set.context(source, ""), source.named)
	return err == nil && auth != (types.DockerAuthConfig{})
}

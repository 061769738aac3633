package mirror

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/pkg/docker/config"
	"github.com/containers/image/v5/pkg/sysregistriesv2"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"

	"github.com/kbuild/kbuild/storage"
)

// settings are the options of a pull, parsed and checked.
type settings struct {
	platform   Platform
	policy     *signature.Policy
	policyFile string
	creds      *types.DockerAuthConfig
	credsFor   []string // hosts
	authFile   string
	// Of containers-registries.conf(5) and containers-registries.d(5).
	registriesConf, registriesDir string
	certDir                       string
	tlsVerify                     types.OptionalBool
	blobInfoCacheDir              string
}

// readSettings checks the options before anything is looked for.
func readSettings(store *storage.Store, sources []Source, opts Options) (settings, error) {
	set, err := checkSettings(sources, opts)
	set.blobInfoCacheDir = store.SystemContext("").BlobInfoCacheDir
	return set, err
}

// CheckSettings reads the files that the options name, or the host's, and says
// what is wrong with them.
func CheckSettings(sources []Source, opts Options) error {
	_, err := checkSettings(sources, opts)
	return err
}

func checkSettings(sources []Source, opts Options) (settings, error) {
	set := settings{platform: opts.Platform.OrHost(), tlsVerify: opts.TLSVerify, certDir: opts.CertDir}
	var err error
	if set.policy, set.policyFile, err = loadPolicy(opts.Policy, policyFiles()); err != nil {
		return settings{}, err
	}
	if opts.Creds != "" {
		user, password, ok := strings.Cut(opts.Creds, ":")
		if !ok || user == "" {
			return settings{}, syntaxError("them as user:password, or use a file of credentials",
				"the credentials are not user:password")
		}
		if set.credsFor = registries(sources); len(set.credsFor) > 1 {
			return settings{}, &SharedCredentialsError{Hosts: set.credsFor}
		}
		set.creds = &types.DockerAuthConfig{Username: user, Password: password}
	}
	set.authFile = opts.Authfile
	if set.authFile == "" {
		set.authFile = os.Getenv("REGISTRY_AUTH_FILE")
	}
	// To the library a missing file or directory is an empty one.
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
	set.registriesConf, set.registriesDir = opts.RegistriesConf, opts.RegistriesDir
	if set.registriesConf != "" {
		if _, err := os.Stat(set.registriesConf); err != nil {
			return settings{}, fmt.Errorf("registries.conf: %w", err)
		}
	}
	if set.registriesDir != "" {
		if _, err := os.ReadDir(set.registriesDir); err != nil {
			return settings{}, fmt.Errorf("registries.d: %w", err)
		}
	}
	if _, err := sysregistriesv2.GetRegistries(set.system()); err != nil {
		return settings{}, &ConfigError{File: registriesConf, Err: fmt.Errorf("read registries.conf: %w", err)}
	}
	return set, nil
}

// registries returns the hosts of the registries among the sources.
func registries(sources []Source) []string {
	var hosts []string
	seen := map[string]bool{}
	for _, s := range sources {
		if s.transport != transportDocker {
			continue
		}
		if host := s.host(); !seen[host] {
			seen[host] = true
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// system returns the part of the context that says which registries there are.
func (set settings) system() *types.SystemContext {
	return &types.SystemContext{SystemRegistriesConfPath: set.registriesConf, RegistriesDirPath: set.registriesDir}
}

// context is the one place where the library's types.SystemContext is filled.
// What it leaves out is read from the user's and the system's files:
// registries.conf, registries.d, auth.json, certs.d.
func (set settings) context(source Source, scratch string) *types.SystemContext {
	sys := set.system()
	p := set.platform
	sys.OSChoice, sys.ArchitectureChoice, sys.VariantChoice = p.OS, p.Architecture, p.Variant
	sys.AuthFilePath = set.authFile
	sys.BigFilesTemporaryDir = scratch
	sys.BlobInfoCacheDir = set.blobInfoCacheDir
	sys.DockerCertPath, sys.OCICertPath = set.certDir, set.certDir
	switch set.tlsVerify {
	case types.OptionalBoolTrue:
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolFalse
	case types.OptionalBoolFalse:
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolTrue
		sys.OCIInsecureSkipTLSVerify = true
	}
	if source.transport == transportDocker {
		if slices.Contains(set.credsFor, source.host()) {
			sys.DockerAuthConfig = set.creds
		}
		if set.insecure(source) {
			sys.DockerInsecureSkipTLSVerify = types.OptionalBoolTrue
		}
	}
	return sys
}

// insecure reports whether a registry is accepted without TLS only because it is
// on loopback. The library has no such exception. Where registries.conf maps the
// source to other registries, those have to be on loopback, too.
func (set settings) insecure(source Source) bool {
	if source.transport != transportDocker || set.tlsVerify != types.OptionalBoolUndefined {
		return false
	}
	if !isLoopback(reference.Domain(source.named)) {
		return false
	}
	mapped, err := sysregistriesv2.FindRegistry(set.system(), source.named.Name())
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

// policyName returns the policy's file, for messages.
func (set settings) policyName() string {
	if set.policyFile == "" {
		return builtinPolicy
	}
	return set.policyFile
}

// credentials reports whether the user has given any for a source.
func (set settings) credentials(source Source) bool {
	if source.transport != transportDocker {
		return false
	}
	if set.creds != nil && slices.Contains(set.credsFor, source.host()) {
		return true
	}
	auth, err := config.GetCredentialsForRef(set.context(source, ""), source.named)
	return err == nil && auth != (types.DockerAuthConfig{})
}

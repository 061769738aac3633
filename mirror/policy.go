package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"

	"github.com/containers/image/v5/signature"
)

// builtinPolicy stands for the policy's file in messages where there is none.
const builtinPolicy = "built into kbuild"

// The configuration files that a [ConfigError] can be about.
const (
	policyJSON     = "containers-policy.json"
	registriesConf = "containers-registries.conf"
)

// loadPolicy reads which images are acceptable, see containers-policy.json(5):
// from path if it is given, else from the first of files that exists. Where
// none does, as on a host that has never seen a container tool, a policy built
// into kbuild accepts every image: like Docker, it relies on TLS and digests.
// The second result is the file, "" for the built-in policy.
func loadPolicy(path string, files []string) (*signature.Policy, string, error) {
	if path == "" {
		for _, file := range files {
			if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
				path = file
				break
			}
		}
	}
	if path == "" {
		accept := signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()}
		return &signature.Policy{Default: accept}, "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("read the policy: %w", err)
	}
	policy, err := signature.NewPolicyFromBytes(data)
	if err != nil {
		return nil, "", &ConfigError{File: policyJSON, Err: fmt.Errorf("read the policy %s: %w", path, err)}
	}
	return policy, path, nil
}

// policyFiles returns where the policy is looked for, see containers-policy.json(5).
func policyFiles() []string {
	system := "/etc/containers/policy.json"
	home := os.Getenv("HOME")
	if home == "" {
		me, err := user.Current()
		if err != nil {
			return []string{system}
		}
		home = me.HomeDir
	}
	return []string{filepath.Join(home, ".config/containers/policy.json"), system}
}

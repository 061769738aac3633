package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/image"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"
)

// trust decides whether an image is acceptable, see containers-policy.json(5).
type trust struct {
	policy  *signature.Policy
	context *signature.PolicyContext
	file    string // that the policy was read from
	// required: an image has to be signed, whatever the policy says.
	required bool
	// original is what the image is asked for as; under holds the place it
	// comes from and, if that is a registry, original.
	original reference.Named
	under    []types.ImageReference
}

// judge sets the names that the images of one source are judged under: the one
// it has there, and the one it is going to have. The user's registries.conf
// sends gcr.io to a mirror and the policy for gcr.io holds; so does --mirror.
func (t trust) judge(source Source, opened types.ImageReference) (trust, error) {
	t.under = []types.ImageReference{opened}
	if source.transport != transportDocker {
		return t, nil
	}
	t.under = nil
	// The tag that was asked for, not the digest it has now: that is what a
	// signature has to be for.
	for _, named := range []reference.Named{source.named, t.original} {
		if digested, ok := named.(reference.Digested); ok {
			exact, err := reference.WithDigest(reference.TrimNamed(named), digested.Digest())
			if err != nil {
				return t, err
			}
			named = exact
		}
		ref, err := docker.NewReference(named)
		if err != nil {
			return t, err
		}
		if len(t.under) == 0 || t.under[0].PolicyConfigurationIdentity() != ref.PolicyConfigurationIdentity() {
			t.under = append(t.under, ref)
		}
	}
	return t, nil
}

// allows tells whether the policy takes an image, and whether it verified a
// signature for it. A scope of the policy that names a registry or more counts
// for each name the image has; only where no scope does, the default counts.
func (t trust) allows(ctx context.Context, img types.UnparsedImage) (signed bool, err error) {
	var named []types.ImageReference
	for _, ref := range t.under {
		if t.hasScope(ref) {
			named = append(named, ref)
		}
	}
	if named == nil {
		named = t.under[:1]
	}
	for _, ref := range named {
		if _, err := t.context.IsRunningImageAllowed(ctx, image.UnparsedInstanceWithReference(img, ref)); err != nil {
			return false, t.rejected(ref, err)
		}
		if t.verifies(t.requirements(ref)) {
			signed = true
		}
	}
	if t.required && !signed {
		return false, withHint(fmt.Errorf("the policy %s takes it unsigned, and --require-signed is given", t.file), t.stanzas())
	}
	return signed, nil
}

// requirements are those of the policy for a name, as
// [signature.PolicyContext] finds them.
func (t trust) requirements(ref types.ImageReference) signature.PolicyRequirements {
	scopes := t.policy.Transports[ref.Transport().Name()]
	for _, scope := range append(append([]string{ref.PolicyConfigurationIdentity()}, ref.PolicyConfigurationNamespaces()...), "") {
		if found, ok := scopes[scope]; ok {
			return found
		}
	}
	return t.policy.Default
}

func (t trust) hasScope(ref types.ImageReference) bool {
	scopes := t.policy.Transports[ref.Transport().Name()]
	for _, scope := range append([]string{ref.PolicyConfigurationIdentity()}, ref.PolicyConfigurationNamespaces()...) {
		if _, ok := scopes[scope]; ok && scope != "" {
			return true
		}
	}
	return false
}

// verifies tells whether one of the requirements, all of which have to be met,
// is a signature. The library shows their kind in JSON alone.
func (t trust) verifies(requirements signature.PolicyRequirements) bool {
	for _, r := range requirements {
		var kind struct {
			Type string `json:"type"`
		}
		text, err := json.Marshal(r)
		if err == nil && json.Unmarshal(text, &kind) == nil && (kind.Type == "signedBy" || kind.Type == "sigstoreSigned") {
			return true
		}
	}
	return false
}

// rejected puts the policy's refusal in words. What the network or the
// registry answered instead of a signature stays as it is.
func (t trust) rejected(ref types.ImageReference, err error) error {
	var requirement signature.PolicyRequirementError
	var invalid signature.InvalidSignatureError
	if !errors.As(err, &requirement) && !errors.As(err, &invalid) && httpStatus(err) != 0 {
		return err
	}
	if retryable(err) {
		return err
	}
	name := ref.PolicyConfigurationIdentity()
	if named := ref.DockerReference(); named != nil {
		name = named.String()
	}
	return withHint(fmt.Errorf("rejected by the policy %s for %s: %w", t.file, name, &answer{text: plain(err.Error()), cause: err}), t.stanzas())
}

// stanzas say what to write into the policy so that signed images are taken.
func (t trust) stanzas() string {
	file := t.file
	if file == builtinPolicy {
		file = "~/.config/containers/policy.json"
		if home, err := os.UserHomeDir(); err == nil {
			file = filepath.Join(home, ".config/containers/policy.json")
		}
	}
	const key = `"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/path/to/key.gpg"`
	ref := t.under[0]
	transport := ref.Transport().Name()
	if transport != transportDocker {
		return fmt.Sprintf("to take what your key signed, put under \"transports\" in %s:\n%q: {%q: [{%s}]}\n--policy gives another policy", file, transport, ref.PolicyConfigurationIdentity(), key)
	}
	hint := fmt.Sprintf("to take what your key signed, put under \"transports\" in %s:\n\"docker\": {%q: [{%s}]}", file, t.original.Name(), key)
	if mirrored := ref.DockerReference(); mirrored != nil && mirrored.Name() != t.original.Name() {
		hint += fmt.Sprintf("\nor, for this mirror alone:\n\"docker\": {%q: [{%s, \"signedIdentity\": {\"type\": \"remapIdentity\", \"prefix\": %[1]q, \"signedPrefix\": %[3]q}}]}",
			mirrored.Name(), key, t.original.Name())
	}
	return hint + "\nfor sigstore the type is \"sigstoreSigned\", without \"keyType\"; where signatures lie says registries.d, see containers-registries.d(5)\n--policy gives another policy"
}

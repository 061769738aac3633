package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

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
	file    string // that the policy was read from, "" for the built-in one
	// required: an image has to be signed, whatever the policy says.
	required bool
	// original is what the image is asked for as; under holds the place it
	// comes from and, if that is a registry, original.
	original reference.Named
	under    []types.ImageReference
}

// judge sets the names that the images of one source are judged under: the one
// it has there, and the one it is going to have. Where registries.conf maps
// gcr.io to a mirror the policy for gcr.io applies; so it does for a source.
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

// allows checks that the policy accepts an image, and reports whether it verified
// a signature for it. A scope of the policy that names a registry or more applies
// to each name the image has. Only where no scope applies, the default does.
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
		e := t.policyError(t.under[0], "the policy %s accepts it without a signature, and a signature is required", t.name())
		e.Unsigned = true
		return false, e
	}
	return signed, nil
}

// requirements returns those of the policy for a name, as
// [signature.PolicyContext] finds them.
func (t trust) requirements(ref types.ImageReference) signature.PolicyRequirements {
	scopes := t.policy.Transports[ref.Transport().Name()]
	scopesOf := append([]string{ref.PolicyConfigurationIdentity()}, ref.PolicyConfigurationNamespaces()...)
	for _, scope := range append(scopesOf, "") {
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

// verifies reports whether one of the requirements, all of which have to be met,
// is a signature. The library shows their kind in JSON only.
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

// rejected puts the policy's refusal into words. What the network or the registry
// answered in place of a signature stays as it is.
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
	e := t.policyError(t.under[0], "rejected by the policy %s for %s: %s", t.name(), name, plain(err.Error()))
	e.cause = err
	return e
}

// policyError describes an image, named under a reference, that the policy does
// not accept.
func (t trust) policyError(ref types.ImageReference, format string, args ...any) *PolicyError {
	e := &PolicyError{
		Policy: t.file, Want: t.original.Name(),
		Transport: ref.Transport().Name(), Identity: ref.PolicyConfigurationIdentity(),
		text: fmt.Sprintf(format, args...),
	}
	if mirrored := t.under[0].DockerReference(); mirrored != nil {
		e.Mirror = mirrored.Name()
	}
	return e
}

// name returns the policy's file, for messages.
func (t trust) name() string { return settings{policyFile: t.file}.policyName() }

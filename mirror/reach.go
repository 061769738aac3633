package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/docker/reference"
)

// Reach asks a registry whether it is there, and nothing else. One that wants
// credentials is.
func Reach(ctx context.Context, source Source, opts Options) error {
	if !source.IsRegistry() {
		return fmt.Errorf("%s is not a registry", source)
	}
	if source.named == nil {
		named, err := reference.ParseNormalizedNamed(source.rest + "/image")
		if err != nil {
			return fmt.Errorf("registry %s: %w", source.rest, err)
		}
		source.named = named
	}
	set, err := checkSettings([]Source{source}, opts)
	if err != nil {
		return err
	}
	err = docker.CheckAuth(ctx, set.context(source, ""), "", "", source.host())
	var denied docker.ErrUnauthorizedForCredentials
	if errors.As(err, &denied) {
		return nil
	}
	return err
}

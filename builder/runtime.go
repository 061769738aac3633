package builder

import (
	"context"
	"errors"
	"fmt"

	"github.com/kbuild/kbuild/builder/container"
)

// findHost chooses how containers run here, and says so where it is not in the
// ordinary way.
func (b *build) findHost(ctx context.Context) (err error) {
	b.host, err = findHost(ctx, b.worker, b.Settings, b.Plan.TreePlan)
	b.Mark("runtime")
	return err
}

func findHost(ctx context.Context, w *worker, s Settings, p TreePlan) (container.Host, error) {
	host, attempts, err := container.FindHost(ctx, s.Isolation, p.TempDir, s.CacheDir)
	if err != nil {
		return host, err
	}
	if host.Isolation != container.IsolationChroot || s.Isolation != "" {
		for _, a := range attempts {
			w.warn(StepCheck, "%s does not work here: %s", a.Runtime, a.Answer)
		}
		return host, nil
	}
	why := "no OCI runtime is installed"
	for i, a := range attempts {
		if why = a.Runtime + " does not work here: " + a.Answer; i > 0 {
			why = attempts[0].Runtime + " and " + why
		}
	}
	w.warn(StepCheck, "%s; using chroot isolation, which separates less", why)
	return host, nil
}

// inContainers does what starts containers with the host's runtime. Where that
// fails, and the runtime was chosen by what had been kept of it and no longer starts
// any, another is chosen and it is done once more.
func (w *worker) inContainers(
	ctx context.Context, s Settings, p TreePlan, host *container.Host, do func() error,
) error {
	for {
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		answer, errTry := host.Recheck(ctx)
		if answer == "" {
			return errors.Join(err, errTry)
		}
		chosen, errHost := findHost(ctx, w, s, p)
		if errHost != nil {
			return errors.Join(err, errHost)
		}
		*host = chosen // it has been tried just now, or is another that was kept
	}
}

// inContainer is inContainers for what cannot be done once more.
func (w *worker) inContainer(ctx context.Context, host container.Host, do func() error) error {
	err := do()
	if err == nil || ctx.Err() != nil {
		return err
	}
	answer, errTry := host.Recheck(ctx)
	if answer != "" {
		err = fmt.Errorf("%w (%s worked here before: the next run chooses a runtime anew)", err, host.Runtime)
	}
	return errors.Join(err, errTry)
}

package main

import (
	"fmt"
	"time"

	"github.com/containers/image/v5/types"
	"github.com/kbuild/kbuild/mirror"
	"github.com/spf13/pflag"
)

// registryFlags are the flags for what lies between kbuild and a registry,
// spelled as skopeo and buildah have them.
func (a *app) registryFlags(f *pflag.FlagSet) {
	f.StringVar(&a.mirror.RegistriesConf, "registries-conf", "", "`file` that says which registries are mirrored, blocked or insecure")
	f.StringVar(&a.mirror.RegistriesDir, "registries.d", "", "`directory` that says where signatures lie")
	f.BoolVar(&a.mirror.RequireSigned, "require-signed", false, "take no image whose signature the policy does not verify")
	f.IntVar(&a.mirror.Retries, "retry", 3, "how `often` to try again what failed for a moment")
	f.DurationVar(&a.mirror.RetryDelay, "retry-delay", 0, "`time` before each (default: 1s, and twice as long each time)")
	f.DurationVar(&a.mirror.Timeout, "timeout", time.Hour, "`time` for bringing an image, with all that is tried; 0 is no bound")
}

// checkRegistryFlags finds what the flags' own types let through.
func (m mirrorFlags) checkRegistryFlags() error {
	switch {
	case m.Retries < 0:
		return fmt.Errorf("--retry %d: it cannot be negative", m.Retries)
	case m.RetryDelay < 0:
		return fmt.Errorf("--retry-delay %s: it cannot be negative", m.RetryDelay)
	case m.Timeout < 0:
		return fmt.Errorf("--timeout %s: it cannot be negative", m.Timeout)
	}
	return nil
}

// options are those of a pull that the flags give.
func (m mirrorFlags) options() mirror.Options {
	opts := mirror.Options{
		Authfile: m.Authfile, Creds: m.Creds, CertDir: m.CertDir,
		Platform: m.Platform, Policy: m.Policy,
		RegistriesConf: m.RegistriesConf, RegistriesDir: m.RegistriesDir, RequireSigned: m.RequireSigned,
		Retries: m.Retries, RetryDelay: m.RetryDelay, Timeout: m.Timeout,
	}
	if opts.Retries == 0 {
		opts.Retries = -1
	}
	if m.TLSVerify != nil {
		opts.TLSVerify = types.NewOptionalBool(*m.TLSVerify)
	}
	return opts
}

// sources are where the images may come from, in order.
func (m mirrorFlags) sources() ([]mirror.Source, error) {
	list := make([]mirror.Source, len(m.Sources))
	for i, s := range m.Sources {
		var err error
		if list[i], err = mirror.ParseSource(s); err != nil {
			return nil, err
		}
	}
	return list, nil
}

package container

import (
	"errors"
	"os"
	"strings"

	containersconf "github.com/containers/common/pkg/config"
)

// setProxies makes the proxies those of this process, and no others, for a while:
// buildah hands its own environment's on. A user's may have a password in them.
func setProxies(proxies []string) (restore func() error, err error) {
	before := map[string]string{}
	for _, name := range containersconf.ProxyEnv {
		if value, ok := os.LookupEnv(name); ok {
			before[name] = value
			err = errors.Join(err, os.Unsetenv(name))
		}
	}
	for _, p := range proxies {
		name, value, _ := strings.Cut(p, "=")
		err = errors.Join(err, os.Setenv(name, value))
	}
	return func() (err error) {
		for _, name := range containersconf.ProxyEnv {
			if value, ok := before[name]; ok {
				err = errors.Join(err, os.Setenv(name, value))
			} else {
				err = errors.Join(err, os.Unsetenv(name))
			}
		}
		return err
	}, err
}

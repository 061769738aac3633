package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/pflag"
)

// offlineFlag is --offline, which KBUILD_OFFLINE sets for every run.
func (a *app) offlineFlag(f *pflag.FlagSet) {
	f.BoolVar(&a.offline, "offline", false, "attempt no connection at all (also KBUILD_OFFLINE=1)")
}

// isOffline says whether no connection may be attempted: what the flag says
// where it was given, else the variable.
func (a *app) isOffline(f *pflag.FlagSet) (bool, error) {
	value := os.Getenv("KBUILD_OFFLINE")
	if flag := f.Lookup("offline"); value == "" || flag != nil && flag.Changed {
		return a.offline, nil
	}
	offline, err := strconv.ParseBool(value)
	if err != nil {
		return false, &hinted{fmt.Errorf("KBUILD_OFFLINE=%q is not true or false", value), "set it to 1, or unset it"}
	}
	return offline, nil
}

// refuseOffline is the error of what would need a connection while none may be
// attempted: what is a sentence's subject, instead is what to do. Nil where
// connections may be.
func (r request) refuseOffline(what, instead string) error {
	if !r.Offline {
		return nil
	}
	return &hinted{fmt.Errorf("%s needs a network, and kbuild is offline", what), instead}
}

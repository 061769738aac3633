package main

import (
	"os"
	"strings"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/trust"
	"github.com/kbuild/kbuild/mirror"
	"github.com/spf13/pflag"
)

// The variables that stand for flags of the same names.
const (
	cacheFromVariable = "KBUILD_CACHE_FROM"
	cacheToVariable   = "KBUILD_CACHE_TO"
)

// cacheFlags are those that say where compiled objects come from, and go, that
// travel between machines.
type cacheFlags struct {
	from, trustFrom []string
	to              string
}

func (f *flags) cacheFlag(set *pflag.FlagSet) {
	c := &f.caches
	set.StringArrayVar(&c.from, "cache-from", nil, "`place` to read objects from that another machine compiled: "+
		"a repository, oci:DIRECTORY, dir:DIRECTORY or a bundle; repeatable, tried in order "+
		"(default: $"+cacheFromVariable+")")
	set.StringVar(&c.to, "cache-to", "",
		"`place` to write the compiled objects to after a build that succeeds (default: $"+cacheToVariable+")")
	set.StringArrayVar(&c.trustFrom, "trust-from", nil,
		"`level` of trust whose caches are read, too; repeatable (default: the tree's own; in CI, its base branch's, too)")
}

// cachesOf are the caches that the flags name, else the variables. A command
// without the flags has none.
func (a *app) cachesOf(set *pflag.FlagSet) (c builder.Caches, err error) {
	if set.Lookup("cache-from") == nil {
		return c, nil
	}
	// An error names what was read.
	from, fromName, to, toName := a.caches.from, "--cache-from", a.caches.to, "--cache-to"
	if !set.Changed("cache-from") {
		from, fromName = listOf(cacheFromVariable), cacheFromVariable
	}
	if !set.Changed("cache-to") {
		to, toName = strings.TrimSpace(os.Getenv(cacheToVariable)), cacheToVariable
	}
	if c.From, err = parsed(from, mirror.ParseCachePlace); err != nil {
		return c, wrong(fromName, err)
	}
	if to != "" || set.Changed("cache-to") {
		if c.To, err = mirror.ParseCachePlace(to); err != nil {
			return c, wrong(toName, err)
		}
	}
	if c.To.IsBundle() {
		return c, wrong(toName, &mirror.CacheReadOnlyError{Place: c.To})
	}
	if c.TrustFrom, err = parsed(a.caches.trustFrom, trust.Parse); err != nil {
		return c, wrong("--trust-from", err)
	}
	return c, nil
}

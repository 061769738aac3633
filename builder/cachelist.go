package builder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kbuild/kbuild/mirror"
)

// CacheRequest asks about the caches in one place.
type CacheRequest struct {
	Settings
	Mirrors Mirrors // for what lies between kbuild and a registry
	Place   mirror.CachePlace
	Tags    []string // none: all
}

// A ListedCache is one cache.
type ListedCache struct {
	Tag     string   `json:"tag"`
	Digest  string   `json:"digest,omitempty"`
	Objects int      `json:"objects"`
	Size    int64    `json:"size"` // of the layers, in bytes
	Cold    float64  `json:"coldSeconds,omitempty"`
	Targets []string `json:"targets,omitempty"`
	// Key says what the objects are for: base image, Dockerfile, and a sum of the
	// environment, the flags and the command.
	Key string `json:"key,omitempty"`
	// Problem says why the cache cannot be used.
	Problem string `json:"problem,omitempty"`
}

// options are those of mirror's functions for the place, the only one that
// credentials can be for.
func (r CacheRequest) options(report Reporter) mirror.Options {
	opts := voice{report}.cacheOptions(r.Mirrors, r.Offline, r.Place)
	opts.Creds = r.Mirrors.Creds
	return opts
}

// ListCaches lists the caches in a place, with what their tables say.
func ListCaches(ctx context.Context, req CacheRequest, report Reporter) (list []ListedCache, err error) {
	opts, tags := req.options(report), req.Tags
	if len(tags) == 0 {
		if tags, err = mirror.CacheTags(ctx, req.Place, opts); err != nil {
			return nil, err
		}
	}
	list = []ListedCache{}
	for _, tag := range tags {
		if !strings.HasPrefix(tag, cachePrefix) {
			continue
		}
		l, err := listCache(ctx, req.Place, tag, opts)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, nil
}

func listCache(ctx context.Context, place mirror.CachePlace, tag string, opts mirror.Options) (
	l ListedCache, err error) {
	l.Tag = tag
	c, t, err := openTable(ctx, place, tag, opts)
	if ctx.Err() != nil {
		return l, ctx.Err()
	}
	if c != nil {
		l.Digest = c.Digest.String()
		for _, layer := range c.Layers() {
			l.Size += layer.Size
		}
		if err := c.Close(); err != nil {
			return l, err
		}
	}
	if err != nil {
		l.Problem = err.Error()
		return l, nil
	}
	l.Objects, l.Cold, l.Key = len(t.Objects), t.Cold.Round(time.Millisecond).Seconds(), string(t.Key)
	for _, target := range t.Targets {
		l.Targets = append(l.Targets, target.Name)
	}
	return l, nil
}

// RemoveCaches removes caches in a place.
func RemoveCaches(ctx context.Context, req CacheRequest, report Reporter) error {
	v, opts := voice{report}, req.options(report)
	var failed []error
	for _, tag := range req.Tags {
		if !strings.HasPrefix(tag, cachePrefix) || !mirror.IsCacheTag(tag) {
			failed = append(failed, fmt.Errorf("%.200q is not the tag of a cache", tag))
			continue
		}
		if req.DryRun {
			v.say(StepCache, "would remove %s", req.Place.With(tag))
			continue
		}
		if err := mirror.RemoveCache(ctx, req.Place, tag, opts); err != nil {
			failed = append(failed, err)
			continue
		}
		v.say(StepCache, "removed %s", req.Place.With(tag))
	}
	return errors.Join(failed...)
}

package mirror_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// registries.conf has its say about every source.
func TestPullRegistriesConf(t *testing.T) {
	g := serve(t)
	right := img(t, runtime.GOARCH, "right")
	g.push(t, repo+":"+wantTag, right)
	_, port, _ := strings.Cut(g.Host(), ":")
	mirrored := func(how string) string {
		return fmt.Sprintf("[[registry]]\nlocation = \"127.0.0.1:1\"\nprefix = \"registry.test\"\n[[registry.mirror]]\n"+
			"location = %q\ninsecure = true\n%s\n", g.Host(), how)
	}
	for _, test := range []struct {
		name, conf, source string
		used               string // where registries.conf leads
		says, kind         string
	}{
		{name: "a mirror", conf: mirrored(""), source: "registry.test/" + repo, used: repo + ":" + wantTag},
		{name: "a mirror for digests", conf: mirrored(`pull-from-mirror = "digest-only"`),
			source: "registry.test/" + repo + "@" + digestOf(t, right), used: repo + "@" + digestOf(t, right)},
		{name: "a mirror for digests has no tags", conf: mirrored(`pull-from-mirror = "digest-only"`),
			source: "registry.test/" + repo + ":" + wantTag, says: "connection refused"},
		{name: "another location",
			conf: fmt.Sprintf("[[registry]]\nprefix = \"registry.test/a\"\nlocation = %q\ninsecure = true\n",
				g.Host()+"/xuxinkun"), source: "registry.test/a/kubernetes", used: repo + ":" + wantTag},
		{name: "blocked", conf: "[[registry]]\nlocation = \"" + g.Host() + "\"\nblocked = true\n",
			source: g.Host() + "/" + repo, says: "is blocked in"},
		{name: "insecure", conf: "[[registry]]\nlocation = \"0.0.0.0:" + port + "\"\ninsecure = true\n",
			source: "0.0.0.0:" + port + "/" + repo},
		{name: "not insecure", conf: "", source: "0.0.0.0:" + port + "/" + repo, says: "speaks plain HTTP"},
		{name: "malformed", conf: "[[registry]\n", source: g.Host() + "/" + repo, says: "registries.conf",
			kind: `ConfigError {"File":"containers-registries.conf"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			opts := options(t)
			opts.RegistriesConf = write(t, "registries.conf", test.conf)
			store := storagetest.Open(t)
			got, origin, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, test.source), opts)
			if want := "docker://" + g.Host() + "/" + test.used; test.used != "" && origin.Source != want {
				t.Errorf("used is %s, want %s", origin.Source, want)
			}
			if test.says == "" {
				if err != nil || got.ID != id(t, right) {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(kinds(err), test.kind) {
				t.Errorf("got %v, which is %q, want %q and %q", err, kinds(err), test.says, test.kind)
			}
		})
	}
	for _, edit := range []func(*mirror.Options){
		func(o *mirror.Options) { o.RegistriesConf = "/no/such/file" },
		func(o *mirror.Options) { o.RegistriesDir = "/no/such/file" },
	} {
		opts := options(t)
		edit(&opts)
		if _, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, g.Host()+"/"+repo),
			opts); err == nil || !strings.Contains(err.Error(), "/no/such/file") {
			t.Errorf("got %v", err)
		}
	}
}

// One REF, whatever kind of mirror it is; the one used is named.
func TestPullForms(t *testing.T) {
	g := serve(t)
	right, golang := img(t, runtime.GOARCH, "right"), img(t, runtime.GOARCH, "golang")
	for _, repository := range []string{"flat/kube-cross", "paths/google_containers/kube-cross", "paths/library/golang",
		"names/gcr.io/google_containers/kube-cross", "names/docker.io/library/golang", "renamed/registry.k8s.io/kube-cross"} {
		i := right
		if strings.Contains(repository, "golang") {
			i = golang
			g.push(t, repository+":1.4.2", i)
		}
		g.push(t, repository+":"+wantTag, i)
	}
	g.push(t, "x/kubernetes:"+wantTag, right)
	g.push(t, "x/kubernetes:1.4.2", right)
	host := g.Host() + "/"
	for _, test := range []struct {
		source, want, used string
		same               bool
	}{
		{source: host + "flat", used: "flat/kube-cross:" + wantTag},
		{source: host + "paths", used: "paths/google_containers/kube-cross:" + wantTag},
		{source: host + "names", used: "names/gcr.io/google_containers/kube-cross:" + wantTag},
		{source: host + "renamed", used: "renamed/registry.k8s.io/kube-cross:" + wantTag},
		{source: host + "x/kubernetes", used: "x/kubernetes:" + wantTag},
		{source: host + "paths", want: "golang:1.4.2", same: true, used: "paths/library/golang:1.4.2"},
		{source: host + "names", want: "golang:1.4.2", same: true, used: "names/docker.io/library/golang:1.4.2"},
	} {
		if test.want == "" {
			test.want = wanted
		}
		opts := options(t)
		opts.SameName = test.same
		_, origin, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, test.want), sources(t, test.source), opts)
		if err != nil || origin.Source != "docker://"+host+test.used {
			t.Errorf("%s for %s: used %s, %v; want %s", test.source, test.want, origin.Source, err, test.used)
		}
	}
	// Nothing is taken for golang that does not say so.
	opts := options(t)
	opts.SameName = true
	want := g.Host() + "/no/golang:1.4.2"
	_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, want),
		sources(t, host+"x/kubernetes:1.4.2", host+"x/kubernetes", "dir:"+imageDir(t, right)), opts)
	if err == nil || !strings.Contains(err.Error(), "is a different image than "+want) ||
		strings.Contains(err.Error(), "/x/kubernetes:1.4.2: no such") {
		t.Errorf("got %v", err)
	}
}

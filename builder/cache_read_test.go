package builder

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/builder/trust"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"github.com/kbuild/kbuild/storage/files/filestest"
)

// A noted Reporter keeps what it is told.
type noted struct {
	Reporter
	lines []string
}

func (n *noted) Line(l Line) { n.lines = append(n.lines, l.Text) }

func (n *noted) Progress() io.Writer { return nil }

func (n *noted) Mark(string) {}

func (n *noted) said(text string) bool { return strings.Contains(strings.Join(n.lines, "\n"), text) }

// A runner is a machine that begins with nothing, and compiles one tree.
type runner struct {
	*compilation
	*noted
	t *testing.T
}

var runnerRecipe = kube.Recipe{Workdir: "/go/src/k8s.io/kubernetes", Persistent: []string{"/go/out"}}

var runnerSources = sources.Manifest{{Path: "a.go", Kind: sources.File, Size: 1, Sum: [32]byte{1}}}

// newRunner opens what a machine keeps. It reads from places, and writes to the last.
func newRunner(t *testing.T, places ...string) *runner {
	t.Helper()
	return newRunnerIn(t, t.TempDir(), places...)
}

// newRunnerIn is newRunner with a directory for what the machine keeps.
func newRunnerIn(t *testing.T, dir string, places ...string) *runner {
	t.Helper()
	n := &noted{}
	state, err := objects.Open(filepath.Join(dir, "trees", "tree-level"), runnerRecipe, objects.Key{Base: "b"})
	if err != nil {
		t.Fatal(err)
	}
	b := &build{worker: &worker{voice: voice{n}}}
	b.Plan.Tree.Recipe, b.Plan.Sources, b.Plan.TempDir = runnerRecipe, runnerSources, dir
	b.Plan.CacheLevels = []trust.Level{b.Plan.Level}
	for _, text := range places {
		place, err := mirror.ParseCachePlace(text)
		if err != nil {
			t.Fatal(err)
		}
		b.Caches.From, b.Caches.To = append(b.Caches.From, place), place
	}
	r := &runner{&compilation{build: b, state: state, step: StepCompile, start: time.Now()}, n, t}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// compile writes objects, as the command does, and says why all that was kept went.
func (r *runner) compile(names ...string) (cold string) {
	r.t.Helper()
	mounts, cold, err := r.state.Prepare(r.Plan.Sources, kube.Version{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range names {
		filestest.Write(r.t, filepath.Join(mounts[0].Host, "pkg/linux_amd64", name), object(name))
	}
	if err := r.state.Done(); err != nil {
		r.t.Fatal(err)
	}
	return cold
}

// object is what is compiled to a file of some name.
func object(name string) string {
	if strings.HasPrefix(name, "large") { // and cannot be compressed
		data := make([]byte, 400_000)
		_, _ = rand.NewChaCha8(sha256.Sum256([]byte(name))).Read(data)
		return string(data)
	}
	return strings.Repeat(name, 4000)
}

// written is a place with what a runner compiled.
func written(t *testing.T, names ...string) (place string) {
	t.Helper()
	place = "dir:" + t.TempDir()
	r := newRunner(t, place)
	r.compile(names...)
	r.writeCache(t.Context())
	if !r.said("objects written to " + place) {
		t.Fatal(r.lines)
	}
	return place
}

// A place that never answers is given up when there is nothing else to wait for.
func TestReadCacheSilent(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r := newRunner(t, silent.Addr().String()+"/team/kbuild")
	r.readCache(t.Context())
	connection, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	start, first := time.Now(), r.reading.at.Load()
	(&wait{}).judge(first, start, start.Add(time.Hour))
	<-r.reading.over
	r.reading.join(t.Context())
	if !r.said("no answer in 36") || !r.said("; going on without it") {
		t.Error(r.lines)
	}
}

// A place that never answers is not waited for at the end, either.
func TestWriteCacheSilent(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r := newRunner(t, silent.Addr().String()+"/team/kbuild")
	r.compile("a.a")
	r.writeCache(t.Context())
	if !r.said("no answer in ") || !r.said("; nothing is written") {
		t.Error(r.lines)
	}
}

// A place that does not answer holds no other one up, while nobody waits for it yet. It
// is asked again if the others have nothing.
func TestReadCacheNext(t *testing.T) {
	silent := atomic.Int32{} // so many requests are not answered
	g, err := mirrortest.ServeThrough(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if silent.Add(-1) >= 0 {
				<-req.Context().Done()
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	slow := g.Host() + "/team/kbuild"
	w := newRunner(t, slow)
	w.compile("a.a")
	w.writeCache(t.Context())
	for from, other := range map[string]string{"dir:": written(t, "a.a"), slow: "dir:" + t.TempDir()} {
		silent.Store(1)
		r := newRunner(t, slow, other)
		r.readCache(t.Context())
		<-r.reading.over
		r.reading.join(t.Context())
		if !r.said("; the others are asked first") || !r.said("2 objects read from "+from) {
			t.Error(r.lines)
		}
		if cold := r.compile(); cold != "" {
			t.Error("everything is compiled: " + cold)
		}
	}
}

// A place that falls silent when its table, or a part of a pack, has arrived holds no other
// one up either. What arrived serves where no other place has more.
func TestReadCacheSilentLater(t *testing.T) {
	names := []string{"large1.a", "large2.a", "large3.a", "large4.a", "large5.a", "large6.a"}
	for name, c := range map[string]struct {
		packs  int32 // so many are not sent to their end
		sent   int64 // of each so much is
		other  bool  // the other place has a cache, too
		joined bool  // nothing else is left to do
		from   string
		want   int // objects
	}{
		"before a pack":            {packs: 1, other: true, from: "other", want: 7},
		"in a pack":                {packs: 1, sent: 1_500_000, other: true, from: "other", want: 7},
		"in a pack, for ever":      {packs: 9, sent: 1_500_000, other: true, from: "other", want: 7},
		"in a pack, when joined":   {packs: 9, sent: 1_500_000, other: true, joined: true, from: "other", want: 7},
		"in a pack, once":          {packs: 1, sent: 1_500_000, from: "slow", want: 7},
		"in a pack, less and less": {packs: 9, sent: 1_500_000, from: "slow", want: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &stalling{sent: c.sent}
			g, err := mirrortest.ServeThrough(s.through)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			places := map[string]string{"slow": g.Host() + "/team/kbuild", "other": "dir:" + t.TempDir()}
			w := newRunner(t, places["slow"])
			w.compile(names...)
			w.writeCache(t.Context())
			if c.other {
				places["other"] = written(t, names...)
			}
			s.packs.Store(c.packs)
			dir := t.TempDir()
			r := newRunnerIn(t, dir, places["slow"], places["other"])
			r.readCache(t.Context())
			if !c.joined && c.want == 7 {
				<-r.reading.over
			}
			r.reading.join(t.Context())
			if !r.said("kbuild:kbuild-default-") || r.said("unpack") || !r.said("; the others are asked first") ||
				!r.said(fmt.Sprintf("%d objects read from %s", c.want, places[c.from])) {
				t.Error(r.lines)
			}
			r.right(dir)
			if left, err := filepath.Glob(filepath.Join(dir, "trees/tree-level/kept/.*")); err != nil || left != nil {
				t.Errorf("what is left: %v, %v", left, err)
			}
			if cold := r.compile(names...); cold != "" {
				t.Error("everything is compiled: " + cold)
			}
			r.right(dir)
		})
	}
}

// A stalling registry does not send some packs to their end, the second time they are
// asked for even less of them.
type stalling struct {
	packs atomic.Int32
	sent  int64
}

func (s *stalling) through(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/blobs/") || s.packs.Load() == 0 {
			next.ServeHTTP(w, req)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, req)
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		if answer.Body.Len() < 100_000 { // the table
			_, _ = w.Write(answer.Body.Bytes())
			return
		}
		nth := 10 - s.packs.Add(-1)
		_, _ = w.Write(answer.Body.Bytes()[:min(s.sent, s.sent*2/int64(nth))])
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	})
}

// What is waited for in vain is divided among the places. One that was quick leaves its
// share to those after it, and one that was not takes nothing of theirs.
func TestShare(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		began        time.Duration // after start
		places, left int
		again        bool
		want         time.Duration
	}{
		{0, 1, 1, false, 2 * time.Second},
		{-time.Minute, 2, 2, false, time.Second},
		{0, 2, 1, false, 2 * time.Second},
		{time.Second, 2, 1, false, time.Second},
		{500 * time.Millisecond, 3, 2, false, 750 * time.Millisecond},
		{time.Minute, 2, 1, false, time.Second},
		{-time.Minute, 2, 1, true, 2 * time.Second},
		{time.Second, 2, 1, true, time.Second},
		{time.Second, 3, 2, true, 500 * time.Millisecond},
		{time.Minute, 2, 1, true, 0},
	} {
		a := &attempt{began: start.Add(c.began), places: c.places, left: c.left, again: c.again}
		if got := a.share(2*time.Second, start); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// Where nothing of a cache is what its table says, the next level's is read.
func TestReadCacheDamaged(t *testing.T) {
	place := written(t, "a.a")
	r := newRunner(t, place)
	spoil(t, r, func(table *travel.Table) {
		for i := range table.Objects {
			table.Objects[i].Sum[0] ^= 1
		}
	})
	base, err := trust.Parse("base")
	if err != nil {
		t.Fatal(err)
	}
	own := r.Plan.Level
	r.Plan.Level = base
	r.compile("a.a", "b.a")
	r.writeCache(t.Context())

	r = newRunner(t, place)
	r.Plan.CacheLevels = []trust.Level{own, base}
	r.readCache(t.Context())
	<-r.reading.over
	r.reading.join(t.Context())
	if !r.said("2 objects are not what its table says") || !r.said("3 objects read from "+place) {
		t.Error(r.lines)
	}
	if cold := r.compile(); cold != "" {
		t.Error("everything is compiled: " + cold)
	}
}

// spoil writes a cache again with a table that says something else.
func spoil(t *testing.T, r *runner, change func(*travel.Table)) {
	t.Helper()
	place, tag := r.Caches.To, cacheTag(r.Plan.Level, r.state)
	c, table, err := openTable(t.Context(), place, tag, mirror.Options{})
	if err != nil {
		t.Fatal(err)
	}
	change(table)
	if err := errors.Join(travel.NewWriter(t.TempDir()).Table(table), c.Close()); err != nil {
		t.Fatal(err)
	}
	var layers []mirror.CacheLayer
	for _, l := range table.Layers() {
		layers = append(layers, mirror.CacheLayer(l))
	}
	if _, err := mirror.PushCache(t.Context(), place, tag, layers, c.Digest, mirror.Options{}); err != nil {
		t.Fatal(err)
	}
}

// What could not be read to its end is continued, not written anew: what others put
// there is still good. What is damaged, or of another format, is written anew.
func TestContinued(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, r *runner) // of which the cache is
		anew  bool
	}{
		"read":      {},
		"a sum":     {spoil: func(t *testing.T, r *runner) { spoil(t, r, func(b *travel.Table) { b.Objects[1].Sum[0] ^= 1 }) }, anew: true},
		"no pack":   {spoil: func(t *testing.T, r *runner) { change(t, r, false, os.Remove) }, anew: true},
		"a pack":    {spoil: func(t *testing.T, r *runner) { change(t, r, false, cut) }, anew: true},
		"no table":  {spoil: func(t *testing.T, r *runner) { change(t, r, true, os.Remove) }, anew: true},
		"the table": {spoil: func(t *testing.T, r *runner) { change(t, r, true, cut) }, anew: true},
	} {
		t.Run(name, func(t *testing.T) {
			place := written(t, "a.a")
			r := newRunner(t, place)
			if c.spoil != nil {
				c.spoil(t, r)
			}
			r.readCache(t.Context())
			<-r.reading.over
			b := r.continued(t.Context(), r.Caches.To, cacheTag(r.Plan.Level, r.state), mirror.Options{})
			if b.err != nil || b.digest == "" || (b.table == nil) != c.anew {
				t.Errorf("anew: %v, of %q, %v; %v", b.table == nil, b.digest, b.err, r.lines)
			}
		})
	}
}

// What is no longer sent, and what is gone, is not written anew either.
func TestContinuedSilent(t *testing.T) {
	silent, blobs := make(chan bool), atomic.Int32{}
	g, err := mirrortest.ServeThrough(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			// The first one that is read is the table.
			if req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") && blobs.Add(1) == 2 {
				silent <- true
				<-req.Context().Done()
				return
			}
			next.ServeHTTP(w, req)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	place := g.Host() + "/team/kbuild"
	r := newRunner(t, place)
	r.compile("a.a")
	if r.writeCache(t.Context()); !r.said("objects written to " + place) {
		t.Fatal(r.lines)
	}
	r = newRunner(t, place)
	r.readCache(t.Context())
	<-silent
	a := r.reading.at.Load()
	if a.table.Load() == nil || a.arrived() >= a.needs.Load() {
		t.Errorf("%d bytes are all of %d before a pack is read", a.arrived(), a.needs.Load())
	}
	a.cancel(errors.New("too slow"))
	<-r.reading.over
	tag := cacheTag(r.Plan.Level, r.state)
	if b := r.continued(t.Context(), r.Caches.To, tag, mirror.Options{}); b.err != nil || b.table == nil {
		t.Errorf("%+v; %v", b, r.lines)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	r = newRunner(t, place)
	if b := r.continued(t.Context(), r.Caches.To, tag, mirror.Options{Retries: -1}); b.err == nil {
		t.Errorf("%+v", b)
	}
}

// change changes the file of a cache's table, or that of its pack.
func change(t *testing.T, r *runner, table bool, how func(file string) error) {
	t.Helper()
	c, got, err := openTable(t.Context(), r.Caches.To, cacheTag(r.Plan.Level, r.state), mirror.Options{})
	if err != nil {
		t.Fatal(err)
	}
	layer := got.Packs[0].Layer
	if table {
		layer = got.Layer
	}
	file := filepath.Join(r.Caches.To.Dir(), cacheTag(r.Plan.Level, r.state), layer.Digest.Encoded())
	if err := errors.Join(c.Close(), how(file)); err != nil {
		t.Fatal(err)
	}
}

func cut(file string) error { return os.Truncate(file, 10) }

// As many packs as a table has at most are layers of an image that is read again.
func TestMostPacks(t *testing.T) {
	r := newRunner(t, written(t, "a.a"))
	spoil(t, r, func(table *travel.Table) {
		for len(table.Packs) < travel.MaxPacks {
			table.Packs = append(table.Packs, travel.Pack{Layer: table.Packs[0].Layer})
		}
	})
	c, _, err := openTable(t.Context(), r.Caches.To, cacheTag(r.Plan.Level, r.state), mirror.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

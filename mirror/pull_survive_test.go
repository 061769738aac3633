package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// noise is text that does not compress.
func noise(seed int64, size int) string {
	b := make([]byte, size)
	rand.New(rand.NewSource(seed)).Read(b) //nolint:errcheck // it never fails
	return string(b)
}

// bigImage is an image whose layers are large enough to break off in the middle.
func bigImage(t *testing.T, layers int) (v1.Image, []blobOf) {
	t.Helper()
	var contents []string
	for i := range layers {
		contents = append(contents, fmt.Sprintf("%d", i))
	}
	i := img(t, runtime.GOARCH)
	for n, name := range contents {
		i = appended(t, i, layer(t, name, noise(int64(n), 300<<10)))
	}
	all, err := i.Layers()
	if err != nil {
		t.Fatal(err)
	}
	blobs := make([]blobOf, len(all))
	for n, l := range all {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if blobs[n].content, err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		blobs[n].digest = digestOf(t, l)
	}
	return i, blobs
}

type blobOf struct {
	digest  string
	content []byte
}

// faulty serves one blob in its own way and counts.
type faulty struct {
	mu     sync.Mutex
	asked  int
	ranges int
	sent   int
}

// serve answers a request for content, from the offset that a Range asks for if
// ranges says so, and breaks off after so many bytes; negative is never.
func (f *faulty) serve(w http.ResponseWriter, r *http.Request, content []byte, how answerTo, breakAt int) {
	from := 0
	f.mu.Lock()
	f.asked++
	if v := r.Header.Get("Range"); v != "" {
		f.ranges++
		from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(v, "bytes="), "-"))
	}
	f.mu.Unlock()
	status := http.StatusOK
	if from > 0 {
		switch how {
		case rangeHonoured:
			status = http.StatusPartialContent
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			content = content[from:]
		case rangeIgnored:
		case rangeRefused:
			w.WriteHeader(http.StatusBadRequest)
			return
		case rangeLies: // says what was asked for and sends the beginning
			status = http.StatusPartialContent
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			content = content[:len(content)-from]
		case rangeParts: // as if more than one had been asked for
			status = http.StatusPartialContent
			w.Header().Set("Content-Type", "multipart/byteranges; boundary=part")
			head := fmt.Sprintf("--part\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes %d-%d/%d\r\n\r\n",
				from, len(content)-1, len(content))
			content = append(append([]byte(head), content[from:]...), "\r\n--part--\r\n"...)
		case rangeWrong: // sends another part, and says so
			status = http.StatusPartialContent
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from/2, len(content)-1, len(content)))
			content = content[from/2:]
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	if breakAt >= 0 && breakAt < len(content) {
		content = content[:breakAt]
	}
	n, _ := w.Write(content)
	f.mu.Lock()
	f.sent += n
	f.mu.Unlock()
}

type answerTo int

const (
	rangeHonoured answerTo = iota
	rangeIgnored
	rangeRefused
	rangeLies
	rangeParts
	rangeWrong
)

// A download that is disturbed comes to its end, whatever the server makes of a
// request for the rest.
func TestPullSurvives(t *testing.T) {
	right, blobs := bigImage(t, 1)
	content := blobs[0].content
	half := len(content) / 2
	// breaks says where the first answer breaks off, and where the one to our
	// own request for the rest; the second is to the library's.
	breaks := func(nth, first, third int) int {
		switch nth {
		case 1:
			return first
		case 3:
			return third
		}
		return -1
	}
	for _, test := range []struct {
		name   string
		answer func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) // nth from 1
		edit   func(*mirror.Options)
		most   int    // bytes sent, in halves of the blob
		says   string // in the log
	}{
		{name: "broken off, ranges honoured", most: 3, says: "trying again", answer: func(f *faulty, w http.ResponseWriter,
			r *http.Request, nth int) {
			at := -1
			if nth <= 3 {
				at = 50 << 10
			}
			f.serve(w, r, content, rangeHonoured, at)
		}},
		{name: "broken off, the range ignored", says: "trying again", answer: func(f *faulty, w http.ResponseWriter,
			r *http.Request, nth int) {
			f.serve(w, r, content, rangeIgnored, map[bool]int{true: half, false: -1}[nth == 1])
		}},
		{name: "broken off again, the range ignored", says: "starting it again",
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) {
				f.serve(w, r, content, rangeIgnored, breaks(nth, half, half+20<<10))
			}},
		{name: "broken off again, the range in parts", says: "starting it again",
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) {
				f.serve(w, r, content, rangeParts, breaks(nth, half, 20<<10))
			}},
		{name: "broken off, the range refused", says: "starting it again",
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) {
				f.serve(w, r, content, rangeRefused, map[bool]int{true: half, false: -1}[nth == 1])
			}},
		{name: "broken off, a range that is another", says: "starting it again",
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) {
				f.serve(w, r, content, rangeWrong, map[bool]int{true: half, false: -1}[nth == 1])
			}},
		{name: "stalled, a range that lies", says: "starting it again",
			edit: func(o *mirror.Options) { o.Stall = 300 * time.Millisecond },
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) {
				if nth == 1 {
					stall(w, r, content, half)
					return
				}
				f.serve(w, r, content, rangeLies, -1)
			}},
		{name: "stalled, ranges honoured", most: 2, says: "sent nothing for 300ms",
			edit: func(o *mirror.Options) { o.Stall = 300 * time.Millisecond },
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) {
				if nth == 1 {
					stall(w, r, content, half)
					return
				}
				f.serve(w, r, content, rangeHonoured, -1)
			}},
		{name: "no answer", says: "sent nothing for 300ms",
			edit: func(o *mirror.Options) { o.Stall = 300 * time.Millisecond },
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) {
				if nth == 1 {
					<-r.Context().Done()
					return
				}
				f.serve(w, r, content, rangeHonoured, -1)
			}},
		{name: "reset", says: "trying again", answer: func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) {
			if nth <= 2 {
				conn, _, err := w.(http.Hijacker).Hijack()
				if err == nil {
					conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then it is closed in order
					conn.Close()                     //nolint:errcheck // as above
				}
				return
			}
			f.serve(w, r, content, rangeHonoured, -1)
		}},
		{name: "too many requests", says: "makes kbuild wait",
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) {
				if nth == 1 {
					w.Header().Set("Retry-After", "2")
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
				f.serve(w, r, content, rangeHonoured, -1)
			}},
		{name: "500 twice", says: "fails with 500 Internal Server Error; trying again (2 of 3)",
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) {
				if nth <= 2 {
					w.WriteHeader(http.StatusInternalServerError)
					return
				}
				f.serve(w, r, content, rangeHonoured, -1)
			}},
		{name: "shorter than it says, once", says: "ended at byte " + strconv.Itoa(half),
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request, nth int) {
				if nth == 1 {
					w.Write(content[:half]) //nolint:errcheck // the client may be gone
					return
				}
				f.serve(w, r, content, rangeHonoured, -1)
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t)
			g.push(t, repo+":"+wantTag, right)
			f, nth := &faulty{}, 0
			g.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/blobs/"+blobs[0].digest) {
					return false
				}
				f.mu.Lock()
				nth++
				n := nth
				f.mu.Unlock()
				test.answer(f, w, r, n)
				return true
			})
			var said lines
			opts := options(t)
			opts.Log = said.log
			if test.edit != nil {
				test.edit(&opts)
			}
			store := storagetest.Open(t)
			got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo), opts)
			if err != nil {
				t.Fatalf("%v; said:\n%s", err, &said)
			}
			if got.ID != id(t, right) {
				t.Errorf("got image %s", got.ID)
			}
			if !strings.Contains(said.String(), test.says) {
				t.Errorf("said:\n%s\nwant %q in it", &said, test.says)
			}
			if f.mu.Lock(); test.most > 0 && f.sent > test.most*half {
				t.Errorf("sent %d bytes for a blob of %d, in %d answers", f.sent, len(content), f.asked)
			}
			f.mu.Unlock()
			clean(t, store)
			unkept(t, store)
		})
	}
}

// stall sends a part and then nothing, for as long as the client waits.
func stall(w http.ResponseWriter, r *http.Request, content []byte, at int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.Write(content[:at])                 //nolint:errcheck // the client may be gone
	http.NewResponseController(w).Flush() //nolint:errcheck // as above
	<-r.Context().Done()
}

// unkept checks that no part of a download is left.
func unkept(t *testing.T, store *storage.Store) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(store.Root(), "kbuild-blobs*")); err != nil || len(left) > 0 {
		t.Errorf("left in the store: %v, %v", left, err)
	}
}

// What was downloaded when a run ended is not downloaded again by the next, and
// what cannot be used of it does no harm.
func TestPullGoesOn(t *testing.T) {
	right, blobs := bigImage(t, 2)
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, kept string)
		how   answerTo
		again int // most bytes of the second run
	}{
		{name: "in the middle of a blob", again: len(blobs[1].content)/2 + 8192},
		{name: "where there are no ranges", how: rangeRefused, again: len(blobs[1].content)},
		{name: "what is kept was changed", again: 3 * len(blobs[1].content), spoil: func(t *testing.T, kept string) {
			if err := os.WriteFile(kept, bytes.Repeat([]byte("x"), 100<<10), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "more is kept than there is", again: len(blobs[1].content), spoil: func(t *testing.T, kept string) {
			if err := os.Truncate(kept, 1<<20); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a link out is kept", again: len(blobs[1].content), spoil: func(t *testing.T, kept string) {
			if err := os.Remove(kept); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(t.TempDir(), "out"), kept); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a directory is kept", again: len(blobs[1].content), spoil: func(t *testing.T, kept string) {
			if err := errors.Join(os.Remove(kept), os.MkdirAll(filepath.Join(kept, "x"), 0o700)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t)
			g.push(t, repo+":"+wantTag, right)
			f := [2]*faulty{{}, {}}
			half := len(blobs[1].content) / 2
			store := storagetest.Open(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			g.stopHalfway(t, store, blobs, half, cancel)
			if _, _, err := mirror.Pull(ctx, store, named(t, wanted), sources(t, g.Host()+"/"+repo), options(t)); !errors.Is(err,
				context.Canceled) {
				t.Fatal(err)
			}
			clean(t, store)
			if test.spoil != nil {
				test.spoil(t, filepath.Join(store.Root(), "kbuild-blobs", strings.TrimPrefix(blobs[1].digest, "sha256:")))
			}
			g.serveBlobs(blobs, f, test.how)
			f[0].sent, f[1].sent = 0, 0
			got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo), options(t))
			if err != nil || got.ID != id(t, right) {
				t.Fatalf("got %v, %v", got, err)
			}
			if test.spoil == nil && f[0].sent != 0 {
				t.Errorf("the layer that was complete was sent again: %d bytes", f[0].sent)
			}
			if f[1].sent > test.again {
				t.Errorf("%d bytes of the other were sent again, of %d", f[1].sent, len(blobs[1].content))
			}
			clean(t, store)
			unkept(t, store)
		})
	}
}

// flushed calls then once what was written is on its way.
type flushed struct {
	http.ResponseWriter
	then func()
}

func (f flushed) FlushError() error {
	err := http.NewResponseController(f.ResponseWriter).Flush()
	go f.then()
	return err
}

// serveBlobs serves both blobs whole, and counts.
func (g *registry) serveBlobs(blobs []blobOf, f [2]*faulty, how answerTo) {
	g.answer(func(w http.ResponseWriter, r *http.Request) bool {
		for n, b := range blobs {
			if strings.HasSuffix(r.URL.Path, "/blobs/"+b.digest) {
				f[n].serve(w, r, b.content, how, -1)
				return true
			}
		}
		return false
	})
}

// stopHalfway serves the first blob, and then half of the second and no more.
// Then is called when all that is kept in the store.
func (g *registry) stopHalfway(t *testing.T, store *storage.Store, blobs []blobOf, half int, then func()) {
	first := make(chan struct{})
	var once sync.Once
	g.answer(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/blobs/"+blobs[0].digest):
			new(faulty).serve(w, r, blobs[0].content, rangeHonoured, -1)
			once.Do(func() { close(first) })
		case strings.HasSuffix(r.URL.Path, "/blobs/"+blobs[1].digest):
			<-first
			stall(flushed{w, func() {
				whenKept(t, store, blobs[0].digest, len(blobs[0].content), func() {
					whenKept(t, store, blobs[1].digest, half, then)
				})
			}}, r, blobs[1].content, half)
		default:
			return false
		}
		return true
	})
}

// whenKept waits until so many bytes of a blob have arrived.
func whenKept(t *testing.T, store *storage.Store, digest string, size int, then func()) {
	path := filepath.Join(store.Root(), "kbuild-blobs", strings.TrimPrefix(digest, "sha256:"))
	for t.Context().Err() == nil {
		if info, err := os.Stat(path); err == nil && info.Size() >= int64(size) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	then()
}

// Patience has bounds: the number of retries, and the time for all of it.
func TestPullGivesUp(t *testing.T) {
	right, blobs := bigImage(t, 1)
	content := blobs[0].content
	for _, test := range []struct {
		name   string
		answer func(f *faulty, w http.ResponseWriter, r *http.Request)
		edit   func(*mirror.Options)
		says   string
		asked  int
		kind   string
	}{
		{name: "no progress", says: "ended at byte 10 of", asked: 4, answer: func(f *faulty, w http.ResponseWriter,
			r *http.Request) {
			f.mu.Lock()
			f.asked++
			f.mu.Unlock()
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			w.Write(content[:10]) //nolint:errcheck // the client may be gone
		}},
		{name: "no retries", says: "fails with 503", asked: 1, edit: func(o *mirror.Options) {
			o.Retries = -1
		}, answer: func(f *faulty, w http.ResponseWriter, r *http.Request) {
			f.asked++
			w.WriteHeader(http.StatusServiceUnavailable)
		}},
		{name: "a blob that is not there", says: "no such", asked: 1,
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request) {
				f.asked++
				w.WriteHeader(http.StatusNotFound)
			}},
		{name: "a blob that is denied", says: "denies access (403)", asked: 1,
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request) {
				f.asked++
				w.WriteHeader(http.StatusForbidden)
			}},
		{name: "the time is over", says: "not done after 400ms", kind: "TimeoutError",
			edit:   func(o *mirror.Options) { o.Timeout = 400 * time.Millisecond },
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request) { stall(w, r, content, 10) }},
		{name: "the time is over in a pause", says: "not done after 400ms", kind: "TimeoutError",
			edit: func(o *mirror.Options) { o.Timeout = 400 * time.Millisecond },
			answer: func(f *faulty, w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(http.StatusTooManyRequests)
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t)
			g.push(t, repo+":"+wantTag, right)
			f := &faulty{}
			g.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/blobs/"+blobs[0].digest) {
					return false
				}
				test.answer(f, w, r)
				return true
			})
			opts := options(t)
			if test.edit != nil {
				test.edit(&opts)
			}
			store := storagetest.Open(t)
			_, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo+":"+wantTag), opts)
			if err == nil || !strings.Contains(err.Error(), test.says) || errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %q", err, test.says)
			}
			if !strings.Contains(kinds(err), test.kind) {
				t.Errorf("it is %q, want %q in it", kinds(err), test.kind)
			}
			// Before a range is refused it is asked for once.
			if test.asked > 0 && f.asked > test.asked+1 || f.asked < test.asked {
				t.Errorf("asked %d times, want %d", f.asked, test.asked)
			}
			if s := state(t, store); s != "" {
				t.Errorf("the store holds\n%s", s)
			}
			clean(t, store)
		})
	}
}

// Parts of downloads that nobody went on with do not lie there for ever.
func TestPullPrunes(t *testing.T) {
	g := serve(t)
	g.push(t, repo+":"+wantTag, img(t, runtime.GOARCH, "right"))
	store := storagetest.Open(t)
	dir := filepath.Join(store.Root(), "kbuild-blobs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": 8 * 24 * time.Hour, "young": time.Hour} {
		file := filepath.Join(dir, name)
		when := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Chtimes(file, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo),
		options(t)); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != "young" {
		t.Errorf("left: %v, %v", left, err)
	}
}

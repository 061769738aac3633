package mirror_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// say answers with a body of a media type.
func say(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

// sayJSON answers in the form of the distribution specification.
func sayJSON(w http.ResponseWriter, status int, code, message string) {
	body, _ := json.Marshal(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
	say(w, status, "application/json", string(body))
}

// isManifestOf reports whether a request is for a manifest of a repository.
func isManifestOf(r *http.Request, repository string) bool {
	return strings.HasPrefix(r.URL.Path, "/v2/"+repository+"/manifests/")
}

// Registries answer in many ways where they have nothing. The other forms of a
// mirror are tried, nothing that is permanent is asked twice, and the image is
// found.
func TestPullFindsTheFormThatIsThere(t *testing.T) {
	right := img(t, runtime.GOARCH, "right")
	const form = "mirror/google_containers/kube-cross"
	for _, test := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
	}{
		{"Harbor, without a project", func(w http.ResponseWriter, r *http.Request) {
			sayJSON(w, 400, "BAD_REQUEST", "bad request: invalid repository name: mirror")
		}},
		{"Harbor, not found", func(w http.ResponseWriter, r *http.Request) {
			sayJSON(w, 404, "NOT_FOUND", "artifact mirror/x not found")
		}},
		{"Artifactory, without a code", func(w http.ResponseWriter, r *http.Request) {
			say(w, 404, "application/json", `{"errors":[{"status":404,"message":"Could not find resource"}]}`)
		}},
		{"Pulp", func(w http.ResponseWriter, r *http.Request) {
			sayJSON(w, 400, "NAME_INVALID", "invalid repository name")
		}},
		{"Nexus, an HTML page", func(w http.ResponseWriter, r *http.Request) {
			say(w, 404, "text/html", "<html><head><title>404 - Nexus Repository</title></head></html>")
		}},
		{"a web page with status 200", func(w http.ResponseWriter, r *http.Request) {
			say(w, 200, "text/html; charset=utf-8", "<!DOCTYPE html><html><title>Welcome</title></html>")
		}},
		{"a web page that says it is a manifest", func(w http.ResponseWriter, r *http.Request) {
			say(w, 200, "application/vnd.oci.image.manifest.v1+json", "<html></html>")
		}},
		{"a message with status 200", func(w http.ResponseWriter, r *http.Request) {
			say(w, 200, "application/json", `{"code":404,"message":"not here"}`)
		}},
		{"a redirect to a login page", func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v2/") {
				http.Redirect(w, r, "/login", http.StatusFound)
				return
			}
			say(w, 200, "text/html", "<html><title>Sign in</title></html>")
		}},
		{"an object store", func(w http.ResponseWriter, r *http.Request) {
			say(w, 403, "application/xml",
				`<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>`)
		}},
		{"405", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(405) }},
		{"410", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(410) }},
		{"422 in plain text", func(w http.ResponseWriter, r *http.Request) { say(w, 422, "text/plain", "no") }},
		{"nothing at all", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) }},
		{"451", func(w http.ResponseWriter, r *http.Request) { sayJSON(w, 451, "BLOCKED", "not in your country") }},
		{"500", func(w http.ResponseWriter, r *http.Request) { sayJSON(w, 500, "UNKNOWN", "internal server error") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t)
			g.push(t, form+":"+wantTag, right)
			g.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/v2/" || strings.HasPrefix(r.URL.Path, "/v2/"+form+"/") {
					return false
				}
				test.answer(w, r)
				return true
			})
			opts := options(t)
			opts.RetryDelay = time.Hour // the image is there: nothing is waited for
			got, origin, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, g.Host()+"/mirror"),
				opts)
			if err != nil || got.ID != id(t, right) || origin.Source != "docker://"+g.Host()+"/"+form+":"+wantTag {
				t.Fatalf("got %v of %+v, %v", got, origin, err)
			}
			for path, n := range g.asked {
				if n > 2 && strings.Contains(path, "/manifests/") && !strings.Contains(path, form) {
					t.Errorf("%s was asked for %d times", path, n)
				}
			}
		})
	}
}

// What a registry says is told: its sentence, and the status as it was sent.
func TestPullTellsWhatTheRegistrySays(t *testing.T) {
	right := img(t, runtime.GOARCH, "right")
	long := strings.Repeat("a long explanation, ", 60) + "and the cause"
	for _, test := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		says   []string
		kind   string
		asked  int // for the manifest, without retries
	}{
		{"Harbor's policy", func(w http.ResponseWriter, r *http.Request) {
			sayJSON(w, 412, "PROJECTPOLICYVIOLATION", "current image with 12 vulnerabilities cannot be pulled")
		}, []string{"refuses the request (412): current image with 12 vulnerabilities cannot be pulled"}, "refused", 2},
		{"a long sentence", func(w http.ResponseWriter, r *http.Request) { sayJSON(w, 418, "TEAPOT", long) },
			[]string{"(418): " + long}, "refused", 2},
		{"a code that is known", func(w http.ResponseWriter, r *http.Request) {
			sayJSON(w, 400, "NAME_INVALID", "repository names have a project")
		}, []string{"(400): repository names have a project"}, "refused", 1},
		{"problem details", func(w http.ResponseWriter, r *http.Request) {
			say(w, 409, "application/problem+json", `{"title":"Conflict","detail":"the repository is being moved"}`)
		}, []string{"(409): the repository is being moved"}, "refused", 1},
		{"AWS", func(w http.ResponseWriter, r *http.Request) {
			say(w, 403, "application/json",
				`{"__type":"AccessDeniedException","Message":"the repository policy does not allow it"}`)
		}, []string{"denies access (403): the repository policy does not allow it"}, "no access", 1},
		{"401 with a page", func(w http.ResponseWriter, r *http.Request) {
			say(w, 401, "text/html", "<html><head><title>Sign in to continue</title></head></html>")
		}, []string{"asks for credentials (401): Sign in to continue"}, "no access", 1},
		{"Docker Hub's limit", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "0")
			sayJSON(w, 429, "TOOMANYREQUESTS", "You have reached your pull rate limit")
		}, []string{"too many requests (429): You have reached your pull rate limit"}, "failing", 5},
		{"maintenance", func(w http.ResponseWriter, r *http.Request) {
			sayJSON(w, 503, "UNAVAILABLE", "read-only until noon")
		}, []string{"fails with 503 Service Unavailable: read-only until noon"}, "failing", 2},
		{"a page", func(w http.ResponseWriter, r *http.Request) {
			say(w, 200, "text/html", "<html><head><title>Welcome to nginx!</title></head></html>")
		}, []string{"answers with a web page, not with an image: Welcome to nginx!"}, "not an image", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t)
			g.push(t, repo+":"+wantTag, right)
			var mu sync.Mutex
			asked := 0
			g.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if !isManifestOf(r, repo) {
					return false
				}
				mu.Lock()
				asked++
				mu.Unlock()
				test.answer(w, r)
				return true
			})
			opts := options(t)
			opts.Retries = -1
			_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted),
				sources(t, g.Host()+"/"+repo+":"+wantTag), opts)
			for _, s := range test.says {
				if err == nil || !strings.Contains(err.Error(), s) {
					t.Errorf("got %v, want %q in it", err, s)
				}
			}
			if !strings.Contains(kinds(err), "SourceError: "+test.kind+";") {
				t.Errorf("it is %q, want %q", kinds(err), test.kind)
			}
			if asked != test.asked {
				t.Errorf("asked %d times, want %d", asked, test.asked)
			}
		})
	}
}

// tokens is a token service in front of a registry. Each token is good for some
// uses; token, if set, answers in the service's place.
type tokens struct {
	mu    sync.Mutex
	given int
	used  map[string]int
	each  int
	token func(w http.ResponseWriter, r *http.Request) bool
}

func (s *tokens) answer(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/token" {
		if s.token != nil && s.token(w, r) {
			return true
		}
		s.given++
		say(w, 200, "application/json", `{"token":"t`+strconv.Itoa(s.given)+
			`","expires_in":3600,"issued_at":"2099-01-01T00:00:00Z"}`)
		return true
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s.used[token]++; strings.HasPrefix(token, "t") && s.used[token] <= s.each {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x",error="invalid_token"`)
	sayJSON(w, 401, "UNAUTHORIZED", "token expired")
	return true
}

// A token that ends sooner than it says, or is revoked, is replaced; one that is
// never good ends the attempt.
func TestPullTokensEnd(t *testing.T) {
	right, _ := bigImage(t, 6)
	for _, test := range []struct {
		each int
		says string
	}{
		{each: 3}, {each: 5}, {each: 100},
		{each: 1, says: "(401)"},
	} {
		t.Run(fmt.Sprint(test.each), func(t *testing.T) {
			t.Parallel()
			g := serve(t)
			g.push(t, repo+":"+wantTag, right)
			g.answer((&tokens{each: test.each, used: map[string]int{}}).answer)
			got, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted),
				sources(t, g.Host()+"/"+repo+":"+wantTag), options(t))
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want %q", err, test.says)
				}
				return
			}
			if err != nil || got.ID != id(t, right) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// What a token service says is told as its own, and the forms that it refuses do
// not keep the others from being tried.
func TestPullTokenService(t *testing.T) {
	right := img(t, runtime.GOARCH, "right")
	for _, test := range []struct {
		name   string
		status int
		kind   string
		body   string
		says   string
	}{
		{"Harbor, without a project", 500, "application/json", `{"errors":[{"code":"UNKNOWN","message":"no such project"}]}`,
			"its token service fails with 500 Internal Server Error: no such project"},
		{"denied", 403, "application/json", `{"errors":[{"code":"DENIED","message":"no pull for you"}]}`,
			"its token service denies access (403): no pull for you"},
		{"OAuth", 400, "application/json", `{"error":"invalid_scope","error_description":"unknown scope"}`,
			"its token service refuses the request (400): unknown scope"},
		{"404", 404, "text/plain", "no token service here",
			"its token service refuses the request (404): no token service here"},
		{"a page", 200, "text/html", "<html><title>Sign in</title></html>", "its token service does not answer with a token"},
		{"401", 401, "application/json", `{"details":"incorrect username or password"}`,
			"asks for credentials (401): incorrect username or password"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t)
			g.push(t, "mirror/kube-cross:"+wantTag, right)
			there := true
			s := &tokens{each: 100, used: map[string]int{}}
			s.token = func(w http.ResponseWriter, r *http.Request) bool {
				if there && strings.HasPrefix(r.URL.Query().Get("scope"), "repository:mirror/kube-cross:") {
					return false
				}
				say(w, test.status, test.kind, test.body)
				return true
			}
			g.answer(s.answer)
			opts := options(t)
			opts.Retries = -1
			store := storagetest.Open(t)
			if _, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/mirror"), opts); err != nil {
				t.Errorf("the form that is there: %v", err)
			}
			there = false
			_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted),
				sources(t, g.Host()+"/mirror/kube-cross:"+wantTag), opts)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
}

// A host that is no registry is told once, whatever it answers.
func TestPullNotARegistry(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		says   string
	}{
		{"404", func(w http.ResponseWriter) {
			say(w, 404, "text/html",
				"<title>Nothing here</title>")
		}, "is not a registry: /v2/ answers with 404 Not Found: Nothing here"},
		{"400", func(w http.ResponseWriter) { w.WriteHeader(400) }, "is not a registry: /v2/ answers with 400 Bad Request"},
		{"403", func(w http.ResponseWriter) { w.WriteHeader(403) }, "denies access (403)"},
		{"503", func(w http.ResponseWriter) { w.WriteHeader(503) }, "fails with 503 Service Unavailable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t)
			g.answer(func(w http.ResponseWriter, r *http.Request) bool {
				test.answer(w)
				return true
			})
			opts := options(t)
			opts.Retries = -1
			_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, g.Host()+"/mirror"), opts)
			if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q alone", err, test.says)
			}
		})
	}
}

// A registry of static files sends one Content-Type with everything, knows no
// HEAD and no ranges. What a manifest says of itself counts.
func TestPullMediaTypesThatLie(t *testing.T) {
	list := index(t, runtime.GOARCH, "s390x")
	docker := img(t, runtime.GOARCH, "right")
	oci := repacked(t, docker, types.OCILayer)
	for name, what := range map[string]interface {
		digester
		RawManifest() ([]byte, error)
	}{"list": list, "docker": docker, "oci": oci} {
		for _, kind := range []string{"binary/octet-stream", "", "text/plain; charset=utf-8", "application/json",
			"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
			"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws"} {
			t.Run(name+" as "+kind, func(t *testing.T) {
				t.Parallel()
				g := serve(t)
				g.push(t, repo+":"+wantTag, what)
				files := g.files(t)
				g.answer(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method == http.MethodHead {
						say(w, 403, "application/xml", "<Error/>")
						return true
					}
					w.Header()["Content-Type"] = nil
					if kind != "" {
						w.Header().Set("Content-Type", kind)
					}
					if r.URL.Path == "/v2/" {
						return true
					}
					content, ok := files(r.URL.Path)
					if !ok {
						say(w, 403, "application/xml", "<Error><Code>AccessDenied</Code></Error>")
						return true
					}
					w.Write(content) //nolint:errcheck // the client may be gone
					return true
				})
				_, origin, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, g.Host()+"/"+repo),
					options(t))
				if err != nil {
					t.Fatal(err)
				}
				if name == "list" && origin.Index.String() != digestOf(t, what) ||
					name != "list" && origin.Digest.String() != digestOf(t, what) {
					t.Errorf("it came from %+v, want %s", origin, digestOf(t, what))
				}
			})
		}
	}
}

// files returns what the registry has, as files by their paths.
func (g *registry) files(t *testing.T) func(path string) ([]byte, bool) {
	t.Helper()
	return func(path string) ([]byte, bool) {
		answer := httptest.NewRecorder()
		g.next.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return answer.Body.Bytes(), answer.Code == http.StatusOK
	}
}

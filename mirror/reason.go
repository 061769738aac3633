package mirror

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/containers/image/v5/docker/reference"
	imagemanifest "github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/pkg/docker/config"
	"github.com/containers/image/v5/pkg/sysregistriesv2"
	"github.com/containers/image/v5/pkg/tlsclientconfig"
	"github.com/containers/image/v5/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// The library forgets what a registry said along with some of its answers, see
// reply. Once per source and kind of answer the same is asked again, by a client
// that keeps it; what is found goes into the message and decides nothing.

// longestReply is how much of an answer is read, in bytes.
const longestReply = 64 << 10

// reason completes a source's final error with what the registry said.
func (p *puller) reason(ctx context.Context, candidate Source, err error) error {
	e := (*SourceError)(nil)
	if !errors.As(err, &e) || candidate.transport != transportDocker || candidate.named == nil {
		return err
	}
	if e.cause == nil {
		return err
	}
	r, ok := replyOf(e.cause)
	if !ok || !r.partial() {
		return err
	}
	key := candidate.host() + " " + e.text
	if p.told[key] {
		return err
	}
	p.told[key] = true
	heard, ok := p.ask(ctx, candidate)
	if !ok || heard.status < 300 || r.exact && heard.status != r.status {
		return err
	}
	heard.ping, heard.token, heard.code = r.ping, r.token, r.code
	if heard.said == "" {
		heard.said = r.said
	}
	full := &SourceError{cause: e.cause}
	full.fromReply(heard, candidate, p.settings)
	full.ends, full.noRepo = e.ends, e.noRepo
	return full
}

// ask asks a registry for a manifest and returns its answer, if it is not the
// manifest. Nothing is tried twice.
func (p *puller) ask(ctx context.Context, candidate Source) (reply, bool) {
	sys := p.settings.context(candidate, *p.scratch.Load())
	ctx, g := p.guarded(ctx, candidate, sys)
	defer g.give(nil)
	defer g.done(nil) //nolint:errcheck // it has none
	last := &recorder{}
	client, url, err := last.client(ctx, candidate, sys)
	if err == nil {
		err = last.get(ctx, client, url)
	}
	if err != nil && last.status == 0 {
		return reply{}, false
	}
	return reply{status: last.status, exact: true, said: sentence(last.body)}, last.status != 0
}

// recorder keeps what the last answer was that is not a success.
type recorder struct {
	base   http.RoundTripper
	status int
	body   []byte
}

// RoundTrip sends a request and keeps the answer.
func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	challenge := response.StatusCode == http.StatusUnauthorized && strings.TrimSuffix(request.URL.Path, "/") == "/v2"
	if response.StatusCode < 300 || challenge {
		return response, nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, longestReply))
	if err != nil {
		return nil, errors.Join(err, response.Body.Close())
	}
	r.status, r.body = response.StatusCode, body
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), response.Body), response.Body}
	return response, nil
}

// client makes a client that has a token for the candidate's repository, and the
// URL of its manifest.
func (r *recorder) client(ctx context.Context, candidate Source, sys *types.SystemContext) (*http.Client, string,
	error) {
	named, insecure, err := physical(candidate, sys)
	if err != nil {
		return nil, "", err
	}
	host, tag := reference.Domain(named), "latest"
	if tagged, ok := named.(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	if digested, ok := named.(reference.Digested); ok {
		tag = digested.Digest().String()
	}
	var options []name.Option
	if insecure {
		options = append(options, name.Insecure)
	}
	repository, err := name.NewRepository(host+"/"+reference.Path(named), options...)
	if err != nil {
		return nil, "", err
	}
	base := tlsclientconfig.NewTransport()
	base.DisableKeepAlives = true
	base.TLSClientConfig = &tls.Config{InsecureSkipVerify: insecure} //nolint:gosec // as the user said
	if dir := certificates(sys, host); dir != "" {
		if err := tlsclientconfig.SetupCertificates(dir, base.TLSClientConfig); err != nil {
			return nil, "", err
		}
	}
	r.base = base
	auth := authn.Anonymous
	if given, err := config.GetCredentialsForRef(sys, named); err == nil && given != (types.DockerAuthConfig{}) {
		auth = authn.FromConfig(authn.AuthConfig{
			Username: given.Username, Password: given.Password, IdentityToken: given.IdentityToken,
		})
	}
	scopes := []string{repository.Scope(transport.PullScope)}
	authenticated, err := transport.NewWithContext(ctx, repository.Registry, auth, r, scopes)
	if err != nil {
		return nil, "", err
	}
	url := fmt.Sprintf("%s://%s/v2/%s/manifests/%s",
		repository.Scheme(), repository.RegistryStr(), repository.RepositoryStr(), tag)
	return &http.Client{Transport: authenticated}, url, nil
}

func (r *recorder) get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header["Accept"] = imagemanifest.DefaultRequestedManifestMIMETypes
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// physical returns where registries.conf maps a candidate to, in the end, and
// whether that may do without TLS: the library's error is of that place.
func physical(candidate Source, sys *types.SystemContext) (reference.Named, bool, error) {
	insecure := sys.DockerInsecureSkipTLSVerify == types.OptionalBoolTrue
	registry, err := sysregistriesv2.FindRegistry(sys, candidate.named.Name())
	if err != nil || registry == nil {
		return candidate.named, insecure, err
	}
	pulls, err := registry.PullSourcesFromReference(candidate.named)
	if err != nil || len(pulls) == 0 {
		return candidate.named, insecure, err
	}
	final := pulls[len(pulls)-1]
	if sys.DockerInsecureSkipTLSVerify == types.OptionalBoolUndefined {
		insecure = final.Endpoint.Insecure
	}
	if reference.Domain(final.Reference) != reference.Domain(candidate.named) && sys.DockerAuthConfig != nil {
		return nil, false, errors.New("the credentials are for a different registry")
	}
	return final.Reference, insecure, nil
}

// certificates returns the directory with a host's certificates, see
// containers-certs.d(5), or "".
func certificates(sys *types.SystemContext, host string) string {
	if sys.DockerCertPath != "" {
		return sys.DockerCertPath
	}
	dirs := []string{"/etc/containers/certs.d", "/etc/docker/certs.d"}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append([]string{filepath.Join(home, ".config/containers/certs.d")}, dirs...)
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, host)); err == nil {
			return filepath.Join(dir, host)
		}
	}
	return ""
}

package mirror_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/openpgp"        //nolint:staticcheck // what containers/image verifies with
	"golang.org/x/crypto/openpgp/packet" //nolint:staticcheck // the same

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// payload is what a signature signs, containers-signature(5).
func payload(t *testing.T, name, digest, kind string) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"critical": map[string]any{
			"identity": map[string]string{"docker-reference": name},
			"image":    map[string]string{"docker-manifest-digest": digest},
			"type":     kind,
		},
		"optional": map[string]any{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// gpg is a key made for the test, and the file of its public half.
func gpg(t *testing.T) (*openpgp.Entity, string) {
	t.Helper()
	key, err := openpgp.NewEntity("test", "", "test@registry.example",
		&packet.Config{RSABits: 2048, DefaultHash: crypto.SHA256})
	if err != nil {
		t.Fatal(err)
	}
	var public bytes.Buffer
	// SerializePrivate signs the identity, without which Serialize has none.
	if err := errors.Join(key.SerializePrivate(io.Discard, nil), key.Serialize(&public)); err != nil {
		t.Fatal(err)
	}
	return key, write(t, "key.gpg", public.String())
}

// simplySigned puts a signature of an image where registries.d of dir has it.
func simplySigned(t *testing.T, dir, repository, name, digest string, key *openpgp.Entity) {
	t.Helper()
	var signed bytes.Buffer
	w, err := openpgp.Sign(&signed, key, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(payload(t, name, digest, "atomic container signature")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(dir, repository+"@"+strings.Replace(digest, ":", "=", 1))
	if err := errors.Join(os.MkdirAll(at, 0o755), os.WriteFile(filepath.Join(at, "signature-1"), signed.Bytes(),
		0o644)); err != nil {
		t.Fatal(err)
	}
}

// blobLayer is a layer of bytes as they are.
type blobLayer struct {
	content []byte
	kind    types.MediaType
}

func (l blobLayer) Digest() (v1.Hash, error) {
	return v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256(l.content))}, nil
}
func (l blobLayer) DiffID() (v1.Hash, error) { return l.Digest() }
func (l blobLayer) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.content)), nil
}
func (l blobLayer) Uncompressed() (io.ReadCloser, error) { return l.Compressed() }
func (l blobLayer) Size() (int64, error)                 { return int64(len(l.content)), nil }
func (l blobLayer) MediaType() (types.MediaType, error)  { return l.kind, nil }

// sigstoreSigned attaches a signature as cosign does: an image beside the image.
func sigstoreSigned(t *testing.T, g *registry, repository, name, digest string, key *ecdsa.PrivateKey) {
	t.Helper()
	text := payload(t, name, digest, "cosign container image signature")
	sum := sha256.Sum256(text)
	signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	attached, err := mutate.Append(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		types.OCIConfigJSON), mutate.Addendum{
		Layer:       blobLayer{text, "application/vnd.dev.cosign.simplesigning.v1+json"},
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(signature)},
		MediaType:   "application/vnd.dev.cosign.simplesigning.v1+json",
	})
	if err != nil {
		t.Fatal(err)
	}
	g.push(t, repository+":"+strings.Replace(digest, ":", "-", 1)+".sig", attached)
}

// Signatures are verified under the name that is asked for and, where the policy
// speaks of the mirror, under the mirror's.
func TestPullSigned(t *testing.T) {
	const original = "gcr.io/google_containers/kube-cross"
	key, public := gpg(t)
	_, otherPublic := gpg(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sigstoreKey := write(t, "cosign.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))

	g := serve(t)
	right, list := img(t, runtime.GOARCH, "right"), index(t, "s390x", runtime.GOARCH)
	lookaside := t.TempDir()
	for repository, signAs := range map[string]string{
		"signed": original + ":" + wantTag, "another/name": "registry.example/other:" + wantTag,
		"another/tag": original + ":v9", "own": g.Host() + "/own:" + wantTag, "none": "",
	} {
		g.push(t, repository+":"+wantTag, right)
		if signAs != "" {
			simplySigned(t, lookaside, repository, signAs, digestOf(t, right), key)
		}
	}
	g.push(t, "list:"+wantTag, list)
	simplySigned(t, lookaside, "list", original+":"+wantTag, digestOf(t, img(t, runtime.GOARCH, "for "+runtime.GOARCH)),
		key)
	g.push(t, "sigstore:"+wantTag, right)
	sigstoreSigned(t, g, "sigstore", original+":"+wantTag, digestOf(t, right), private)
	g.push(t, "moved:"+wantTag, right)
	simplySigned(t, lookaside, "moved", original+":"+wantTag, "sha256:"+strings.Repeat("0", 64), key)
	if err := os.Rename(filepath.Join(lookaside, "moved@sha256="+strings.Repeat("0", 64)),
		filepath.Join(lookaside, "moved@"+strings.Replace(digestOf(t, right), ":", "=", 1))); err != nil {
		t.Fatal(err)
	}

	registriesD := t.TempDir()
	if err := os.WriteFile(filepath.Join(registriesD, "test.yaml"), []byte(fmt.Sprintf(
		"default-docker:\n  lookaside: file://%s\n  use-sigstore-attachments: true\n", lookaside)), 0o644); err != nil {
		t.Fatal(err)
	}
	signedBy := func(public, identity string) string {
		return fmt.Sprintf(`[{"type":"signedBy","keyType":"GPGKeys","keyPath":%q%s}]`, public, identity)
	}
	scoped := func(preset, scope, requirements string) string {
		return fmt.Sprintf(`{"default":[{"type":%q}],"transports":{"docker":{%q:%s}}}`, preset, scope, requirements)
	}
	remap := func(repository string) string {
		return fmt.Sprintf(`,"signedIdentity":{"type":"remapIdentity","prefix":%q,"signedPrefix":%q}`,
			g.Host()+"/"+repository, original)
	}
	byName := scoped("reject", original, signedBy(public, ""))
	anything := `{"default":[{"type":"insecureAcceptAnything"}]}`
	for _, test := range []struct {
		name, repository, policy string
		required                 bool
		signed                   bool
		says, kind               string
	}{
		{name: "under the original name", repository: "signed", policy: byName, signed: true},
		{name: "of a list, the image", repository: "list", policy: byName, signed: true},
		{name: "by a scope above it", repository: "signed", policy: scoped("reject", "gcr.io", signedBy(public, "")),
			signed: true},
		{name: "others may go unsigned", repository: "signed",
			policy: scoped("insecureAcceptAnything", original, signedBy(public, "")), signed: true},
		{name: "a mirror does not evade the policy", repository: "none",
			policy: scoped("insecureAcceptAnything", original, signedBy(public, "")), says: "no signature exists",
			kind: `"Want":"` + original + `","Transport":"docker"`},
		{name: "under the mirror's, remapped", repository: "signed",
			policy: scoped("reject", g.Host()+"/signed", signedBy(public, remap("signed"))), signed: true},
		{name: "under the mirror's, not remapped", repository: "signed",
			policy: scoped("reject", g.Host()+"/signed", signedBy(public, "")), says: original,
			kind: `"Mirror":"` + g.Host() + `/signed"`},
		{name: "with the mirror's own name", repository: "own",
			policy: scoped("reject", g.Host()+"/own", signedBy(public, "")), signed: true},
		{name: "the mirror's scope does not suspend the other", repository: "none", says: "no signature exists",
			policy: fmt.Sprintf(
				`{"default":[{"type":"reject"}],"transports":{"docker":{%q:[{"type":"insecureAcceptAnything"}],%q:%s}}}`, g.Host(),
				original, signedBy(public, ""))},
		{name: "for another name", repository: "another/name", policy: byName, says: "registry.example/other",
			kind: `policy.json","Unsigned":false`},
		{name: "for another tag", repository: "another/tag", policy: byName, says: "v9"},
		{name: "of another image", repository: "moved", policy: byName, says: "rejected by the policy"},
		{name: "by another key", repository: "signed", policy: scoped("reject", original, signedBy(otherPublic, "")),
			says: "rejected by the policy"},
		{name: "none", repository: "none", policy: byName, says: "no signature exists",
			kind: `"Want":"` + original + `","Transport":"docker"`},
		{name: "none, and none wanted", repository: "none", policy: anything},
		{name: "none, required", repository: "none", policy: anything, required: true, says: "a signature is required",
			kind: `"Unsigned":true,"Want":"` + original + `"`},
		{name: "signed, but not verified, required", repository: "signed", policy: anything, required: true,
			says: "a signature is required"},
		{name: "signed, required", repository: "signed", policy: byName, required: true, signed: true},
		{name: "sigstore", repository: "sigstore", signed: true, required: true,
			policy: scoped("reject", original,
				fmt.Sprintf(`[{"type":"sigstoreSigned","keyPath":%q,"signedIdentity":{"type":"matchRepository"}}]`, sigstoreKey))},
		{name: "sigstore, none", repository: "none", says: "rejected by the policy", kind: "PolicyError",
			policy: scoped("reject", original,
				fmt.Sprintf(`[{"type":"sigstoreSigned","keyPath":%q,"signedIdentity":{"type":"matchRepository"}}]`, sigstoreKey))},
	} {
		t.Run(test.name, func(t *testing.T) {
			opts := options(t)
			// A long name: what follows it has to be there nevertheless.
			opts.Policy, opts.RegistriesDir, opts.RequireSigned = write(t, strings.Repeat("long-", 40)+"policy.json",
				test.policy), registriesD, test.required
			store := storagetest.Open(t)
			_, origin, err := mirror.Pull(t.Context(), store, named(t, wanted),
				sources(t, g.Host()+"/"+test.repository+":"+wantTag), opts)
			if test.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				if origin.Signed != test.signed {
					t.Errorf("kept as signed: %v", origin.Signed)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.says) ||
				!strings.Contains(err.Error()+kinds(err), opts.Policy) {
				t.Errorf("got %v, want %q and %s", err, test.says, opts.Policy)
			}
			if !strings.Contains(kinds(err), test.kind) {
				t.Errorf("it is %q, want %q in it", kinds(err), test.kind)
			}
			if s := state(t, store); s != "" {
				t.Errorf("the store holds\n%s", s)
			}
		})
	}
}

// A file has no signatures: required, its transport has to have a stanza.
func TestPullSignedFromAFile(t *testing.T) {
	opts := options(t)
	opts.RequireSigned = true
	_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted),
		sources(t, "dir:"+imageDir(t, img(t, runtime.GOARCH, "right"))), opts)
	if err == nil || !strings.Contains(err.Error(), "a signature is required") ||
		!strings.Contains(kinds(err), `"Transport":"dir"`) {
		t.Errorf("got %v, which is %q", err, kinds(err))
	}
}

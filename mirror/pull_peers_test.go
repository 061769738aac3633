package mirror_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// needs skips a test loudly where a program is missing; in CI that is a failure.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed: CI=1 .ci/prereqs test installs it", program)
		}
		t.Skipf("NOT TESTED with real peers: %s is not installed; CI=1 .ci/prereqs test installs it", program)
	}
}

// skopeoCopy runs skopeo copy and fails with what it says.
func skopeoCopy(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "skopeo", append([]string{"--insecure-policy", "copy"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("skopeo copy %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// authority makes a private certificate authority and a key pair that it vouches
// for: ca.crt, server.crt and server.key in a directory.
func authority(t *testing.T, host string) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name, kind string, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, caKey := issue(ca, ca, nil)
	put("ca.crt", "CERTIFICATE", caDER)
	server := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host},
		DNSNames:    []string{host},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, key := issue(server, ca, caKey)
	put("server.crt", "CERTIFICATE", der)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put("server.key", "PRIVATE KEY", private)
	return dir
}

// distribution starts Debian's docker-registry with TLS and a password (me,
// it:is), and returns its port.
func distribution(t *testing.T, certs string) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	dir := t.TempDir()
	passwords := write(t, "htpasswd", "me:$2y$05$abcdefghijklmnopqrstuuVNdvojei/l0ta6nMbs.4HiuoNNDtcAW\n")
	config := write(t, "config.yml", fmt.Sprintf(`version: 0.1
storage:
  filesystem:
    rootdirectory: %q
http:
  addr: %s
  secret: test
  tls:
    certificate: %q
    key: %q
auth:
  htpasswd:
    realm: test
    path: %q
`, dir, address, filepath.Join(certs, "server.crt"), filepath.Join(certs, "server.key"), passwords))
	output, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", config)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may be gone
		cmd.Wait()         //nolint:errcheck // killed
		output.Close()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(output.Name())
			t.Fatalf("docker-registry does not answer: %v\n%s", err, text)
		}
	}
	_, port, _ := net.SplitHostPort(address)
	return port
}

// wayOut is a proxy on a socket in the file system, which a network namespace
// with nothing in it reaches. It wants a password (guest, pass), and knows one
// host.
type wayOut struct {
	host, to string
	passed   atomic.Int32
}

func (p *wayOut) serveHTTP(t *testing.T) string {
	socket := filepath.Join(t.TempDir(), "http")
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte("guest:pass"))
		switch {
		case r.Header.Get("Proxy-Authorization") != want:
			w.Header().Set("Proxy-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusProxyAuthRequired)
		case r.Method != http.MethodConnect || r.Host != p.host:
			w.WriteHeader(http.StatusForbidden)
		default:
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				fmt.Fprint(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
				p.pass(conn)
			}
		}
	})}
	go server.Serve(listen(t, socket)) //nolint:errcheck // it ends with the test
	t.Cleanup(func() { server.Close() })
	return socket
}

// serveSOCKS speaks SOCKS 5, RFC 1928, with a password, RFC 1929.
func (p *wayOut) serveSOCKS(t *testing.T) string {
	socket := filepath.Join(t.TempDir(), "socks")
	listener := listen(t, socket)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				field := func() string { // one byte of length, and what follows
					var n [1]byte
					io.ReadFull(conn, n[:]) //nolint:errcheck // the comparison finds out
					b := make([]byte, n[0])
					io.ReadFull(conn, b) //nolint:errcheck // as above
					return string(b)
				}
				skip := func(n int) { io.ReadFull(conn, make([]byte, n)) } //nolint:errcheck // as above
				skip(1)
				field()
				conn.Write([]byte{5, 2}) //nolint:errcheck // as above
				skip(1)
				if field() != "guest" || field() != "pass" {
					conn.Write([]byte{1, 1}) //nolint:errcheck // as above
					return
				}
				conn.Write([]byte{1, 0}) //nolint:errcheck // as above
				skip(4)                  // version, command, and an address that is a name
				host := field()
				var port [2]byte
				io.ReadFull(conn, port[:]) //nolint:errcheck // as above
				if fmt.Sprintf("%s:%d", host, int(port[0])<<8|int(port[1])) == p.host {
					conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}) //nolint:errcheck // as above
					p.pass(conn)
				}
			}()
		}
	}()
	return socket
}

func listen(t *testing.T, socket string) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

// pass connects a client with the host.
func (p *wayOut) pass(client net.Conn) {
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		client.Close()
		return
	}
	p.passed.Add(1)
	joined(client, server)
}

func joined(a, b net.Conn) {
	go func() {
		io.Copy(a, b) //nolint:errcheck // one end is gone
		a.Close()
		b.Close()
	}()
	io.Copy(b, a) //nolint:errcheck // as above
	a.Close()
	b.Close()
}

// cut is what the test hands to itself in a network namespace.
type cut struct {
	Sources           []string
	Socket            string // of the way out
	CertDir, Authfile string
}

const (
	cutVariable = "KBUILD_TEST_CUT"
	cutProxy    = "127.0.0.1:3128"
)

// TestCutOff is the part of TestRealRegistry that runs in a network namespace.
func TestCutOff(t *testing.T) {
	request := os.Getenv(cutVariable)
	if request == "" {
		return // this is not the namespace
	}
	var c cut
	if err := json.Unmarshal([]byte(request), &c); err != nil {
		t.Fatal(err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", cutProxy)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", c.Socket)
			if err != nil {
				conn.Close()
				continue
			}
			go joined(conn, out)
		}
	}()
	for _, s := range c.Sources {
		opts := options(t)
		opts.CertDir, opts.Authfile, opts.Retries = c.CertDir, c.Authfile, -1
		_, origin, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, s), opts)
		if err != nil {
			t.Errorf("%v; it is %s", err, kinds(err))
			continue
		}
		fmt.Println("used", origin.Source)
	}
}

// A real registry with a private authority and a password, reached through a
// proxy that wants one too, from a network namespace that has no other way out.
func TestRealRegistry(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: Debian's registry")
	}
	needs(t, "docker-registry", "skopeo")
	const name = "registry.test"
	certs := authority(t, name)
	port := distribution(t, certs)
	host := name + ":" + port
	layout := ociLayout(t, map[string]v1.Image{"": img(t, runtime.GOARCH, "right", "and more")})
	caOnly := filepath.Dir(write(t, "ca.crt", read(t, filepath.Join(certs, "ca.crt"))))
	for _, repository := range []string{"google_containers/kube-cross", "flat/kube-cross",
		"by/path/google_containers/kube-cross",
		"proxy/gcr.io/google_containers/kube-cross", "gcr.io/google_containers/kube-cross", "renamed/build-image/kube-cross",
		"another/name"} {
		skopeoCopy(t, "--dest-cert-dir", caOnly, "--dest-creds", "me:it:is",
			"oci:"+layout, "docker://127.0.0.1:"+port+"/"+repository+":"+wantTag)
	}
	forms := []string{host, host + "/flat", host + "/by/path", host + "/proxy", host + "/renamed", host + "/another/name"}
	used := []string{"/gcr.io/google_containers/kube-cross", "/flat/kube-cross", "/by/path/google_containers/kube-cross",
		"/proxy/gcr.io/google_containers/kube-cross", "/renamed/build-image/kube-cross", "/another/name"}
	way := &wayOut{host: host, to: "127.0.0.1:" + port}
	byHTTP, bySOCKS := way.serveHTTP(t), way.serveSOCKS(t)
	auth := write(t, "auth.json", fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host,
		base64.StdEncoding.EncodeToString([]byte("me:it:is"))))
	helper := write(t, "docker-credential-kbuildtest",
		"#!/bin/sh\nread -r server\necho '{\"Username\":\"me\",\"Secret\":\"it:is\"}'\n")
	if err := os.Chmod(helper, 0o755); err != nil {
		t.Fatal(err)
	}
	helped := write(t, "auth.json", fmt.Sprintf(`{"credHelpers":{%q:"kbuildtest"}}`, host))
	for _, test := range []struct {
		name  string
		cut   cut
		env   []string
		fails string
	}{
		{name: "HTTP proxy, SSL_CERT_FILE, every form", cut: cut{Sources: forms, Socket: byHTTP, Authfile: auth},
			env: []string{"HTTPS_PROXY=http://guest:pass@" + cutProxy, "SSL_CERT_FILE=" + filepath.Join(certs, "ca.crt")}},
		{name: "SOCKS proxy, certs.d, credential helper",
			cut: cut{Sources: forms[:1], Socket: bySOCKS, Authfile: helped, CertDir: caOnly},
			env: []string{"https_proxy=socks5h://guest:pass@" + cutProxy,
				"PATH=" + filepath.Dir(helper) + ":" + os.Getenv("PATH")}},
		{name: "no password for the proxy", cut: cut{Sources: forms[:1], Socket: byHTTP, Authfile: auth, CertDir: caOnly},
			env: []string{"HTTPS_PROXY=http://" + cutProxy}, fails: "Proxy Authentication Required"},
		{name: "no authority", cut: cut{Sources: forms[:1], Socket: byHTTP, Authfile: auth},
			env: []string{"HTTPS_PROXY=http://guest:pass@" + cutProxy}, fails: "its TLS certificate is not trusted"},
		{name: "no credentials", cut: cut{Sources: forms[:1], Socket: byHTTP, CertDir: caOnly},
			env: []string{"HTTPS_PROXY=http://guest:pass@" + cutProxy}, fails: "asks for credentials (401)"},
		{name: "no proxy", cut: cut{Sources: forms[:1], Socket: byHTTP, Authfile: auth, CertDir: caOnly},
			fails: "host registry.test is not known"},
	} {
		t.Run(test.name, func(t *testing.T) {
			request, err := json.Marshal(test.cut)
			if err != nil {
				t.Fatal(err)
			}
			before := way.passed.Load()
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^TestCutOff$")
			for _, v := range os.Environ() {
				if name, _, _ := strings.Cut(v, "="); !strings.HasSuffix(strings.ToLower(name), "_proxy") &&
					!strings.HasPrefix(name, "SSL_CERT") {
					cmd.Env = append(cmd.Env, v)
				}
			}
			cmd.Env = append(append(cmd.Env, cutVariable+"="+string(request), "HOME="+t.TempDir()), test.env...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
			out, err := cmd.CombinedOutput()
			if test.fails != "" {
				if err == nil || !strings.Contains(string(out), test.fails) {
					t.Errorf("%v, want %q:\n%s", err, test.fails, out)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, u := range used[:len(test.cut.Sources)] {
				if want := "used docker://" + host + u + ":" + wantTag; !strings.Contains(string(out), want) {
					t.Errorf("want %q:\n%s", want, out)
				}
			}
			if way.passed.Load() == before {
				t.Error("nothing came through the proxy")
			}
		})
	}
}

// What skopeo writes, kbuild reads, and the other way round.
func TestSkopeo(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: what skopeo copies")
	}
	needs(t, "skopeo")
	right := img(t, runtime.GOARCH, "right", "and more")
	g := serve(t)
	g.push(t, repo+":"+wantTag, right)
	from := "docker://" + g.Host() + "/" + repo + ":" + wantTag
	var last *storage.Store
	for _, form := range []string{"oci:%s", "oci-archive:%s", "docker-archive:%s", "dir:%s"} {
		to := fmt.Sprintf(form, filepath.Join(t.TempDir(), "image"))
		skopeoCopy(t, "--src-tls-verify=false", from, to)
		store := storagetest.Open(t)
		got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, to), options(t))
		if err != nil {
			t.Errorf("%s: %v", to, err)
			continue
		}
		// skopeo writes another configuration into OCI's formats.
		if !strings.HasPrefix(form, "oci") && got.ID != id(t, right) {
			t.Errorf("%s: image %s, want %s", to, got.ID, id(t, right))
		}
		if n := layersIn(t, store); n != 2 {
			t.Errorf("%s: %d layers", to, n)
		}
		last = store
	}
	if last == nil {
		return
	}
	out := filepath.Join(t.TempDir(), "out")
	skopeoCopy(t,
		fmt.Sprintf("containers-storage:[vfs@%s+%s]%s", last.Root(), last.Unwrap().RunRoot(), wanted), "dir:"+out)
	if _, err := os.Stat(filepath.Join(out, id(t, right))); err != nil {
		t.Errorf("skopeo's copy has another configuration: %v", err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(content)
}

package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// errNotThere is a proxy's answer, 404 or 410, that it has not what was asked
// for; see go help goproxy.
var errNotThere = errors.New("not there")

// A proxy is one entry of GOPROXY.
type proxy struct {
	// base is where the modules are, of scheme https, http or file.
	base *url.URL
	// always reports whether the next entry is asked after any error, not only when
	// this one has not what was asked for.
	always bool
	// off ends the list, and says that nothing else is to be asked.
	off bool
	// direct stands for the origin of the module.
	direct bool
}

// origin is where golang.org/toolchain says, in its go-import tag, that its
// module lies.
const origin = "https://go.dev/dl/mod"

// longestList and longestAnswer bound what a proxy may say, in bytes, where it
// is not the archive itself; longestArchive bounds that.
const (
	longestList    = 4 << 20
	longestAnswer  = 1 << 20
	longestArchive = 2 << 30
)

// parseProxies reads the value of GOPROXY, see go help goproxy.
func parseProxies(list string) ([]proxy, error) {
	var proxies []proxy
	for list != "" {
		entry, always := list, false
		if i := strings.IndexAny(list, ",|"); i >= 0 {
			entry, always, list = list[:i], list[i] == '|', list[i+1:]
		} else {
			list = ""
		}
		entry = strings.TrimSpace(entry)
		switch entry {
		case "":
			continue
		case "off":
			return append(proxies, proxy{off: true}), nil
		case "direct":
			base, err := url.Parse(origin)
			if err != nil {
				return nil, err
			}
			return append(proxies, proxy{base: base, direct: true}), nil
		}
		base, err := url.Parse(entry)
		if err != nil || (base.Scheme != "https" && base.Scheme != "http" && base.Scheme != "file") ||
			base.Host == "" && base.Scheme != "file" {
			return nil, &Error{Settings, fmt.Errorf("GOPROXY entry %q is not a URL of https, http or file", redact(entry)), ""}
		}
		proxies = append(proxies, proxy{base: base, always: always})
	}
	if len(proxies) == 0 {
		return nil, &Error{Settings, errors.New("GOPROXY names no module proxy"), ""}
	}
	return proxies, nil
}

// redact takes what looks like a password from a text that is no URL.
func redact(text string) string {
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		return "..." + text[i:]
	}
	return text
}

// String returns the proxy's address without a password.
func (p proxy) String() string {
	if p.off {
		return "off"
	}
	return p.base.Redacted()
}

// each asks one proxy after the other, as GOPROXY's separators say, until one
// answers. When none has it the error is errNotThere.
func (f *finder) each(ask func(proxy) error) error {
	var failed error
	for _, p := range f.proxies {
		if p.off {
			if failed == nil {
				failed = &Error{ProxyOff, errors.New("GOPROXY is off"), ""}
			}
			return failed
		}
		err := ask(p)
		if err == nil {
			return nil
		}
		missing := errors.Is(err, errNotThere)
		if !missing {
			err = fmt.Errorf("%s: %w", p, err)
			failed = errors.Join(failed, err)
		}
		if !missing && !p.always {
			return &Error{ProxyFailed, failed, ""}
		}
	}
	if failed != nil {
		return failed
	}
	return errNotThere
}

// get reads a small file below the proxy's address.
func (p proxy) get(ctx context.Context, path string, longest int64) ([]byte, error) {
	var b bytes.Buffer
	err := p.read(ctx, path, func(r io.Reader) error {
		_, err := io.Copy(&b, io.LimitReader(r, longest+1))
		if err == nil && int64(b.Len()) > longest {
			err = fmt.Errorf("%s is longer than %d bytes", path, longest)
		}
		return err
	})
	return b.Bytes(), err
}

// copy downloads an archive.
func (p proxy) copy(ctx context.Context, path string, to *os.File) error {
	return p.read(ctx, path, func(r io.Reader) error {
		if err := to.Truncate(0); err != nil {
			return err
		}
		if _, err := to.Seek(0, io.SeekStart); err != nil {
			return err
		}
		n, err := io.Copy(to, io.LimitReader(r, longestArchive+1))
		if err == nil && n > longestArchive {
			err = fmt.Errorf("%s is longer than %d bytes", path, int64(longestArchive))
		}
		return err
	})
}

const (
	tries = 3
	// stall is how long a server may say nothing.
	stall = time.Minute
)

// read hands a file below the proxy's address to take. A server that fails for
// a moment is asked again.
func (p proxy) read(ctx context.Context, path string, take func(io.Reader) error) error {
	if p.base.Scheme == "file" {
		f, err := os.Open(filepath.Join(p.base.Path, filepath.FromSlash(path)))
		if errors.Is(err, fs.ErrNotExist) {
			return errNotThere
		}
		if err != nil {
			return err
		}
		defer f.Close()
		return take(f)
	}
	var err error
	for try := 1; ; try++ {
		var again bool
		if again, err = p.request(ctx, path, take); err == nil || !again || try == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * 500 * time.Millisecond):
		}
	}
}

// request asks once. again says whether the same may be answered otherwise in
// a moment.
func (p proxy) request(ctx context.Context, path string, take func(io.Reader) error) (again bool, err error) {
	// The client's own time limit would be one for the whole archive.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing arrived for %s", stall)) })
	defer alarm.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base.JoinPath(path).String(), nil)
	if err != nil {
		return false, err
	}
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return false, cause
		}
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // it repeats the address, password and all
		}
		return true, err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotFound, response.StatusCode == http.StatusGone:
		return false, errNotThere
	case response.StatusCode != http.StatusOK:
		return response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests,
			&statusError{response.StatusCode, response.Status}
	}
	err = take(&watched{response.Body, alarm})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return false, cause
	}
	return errors.Is(err, io.ErrUnexpectedEOF), err
}

// statusError is an answer of a server that is neither success nor absence.
type statusError struct {
	code   int
	status string
}

func (e *statusError) Error() string { return "answers " + e.status }

// refused reports whether a proxy lists a release and does not hand it out.
func refused(err error) bool {
	var status *statusError
	return errors.Is(err, errNotThere) || errors.As(err, &status) && status.code >= 400 && status.code < 500
}

// watched puts off the alarm whenever something comes.
type watched struct {
	io.Reader
	alarm *time.Timer
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	w.alarm.Reset(stall)
	return n, err
}

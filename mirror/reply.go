package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/containers/image/v5/docker"
	"github.com/docker/distribution/registry/api/errcode"
	v2 "github.com/docker/distribution/registry/api/v2"
)

// A reply is what a registry answered in place of what it was asked for. The
// library keeps a part of it only: of an answer with a code that Docker's
// registry does not have, as those of Harbor and Artifactory are, it keeps the
// message and neither the code nor the status, and of an answer of 500 and more
// the status alone.
type reply struct {
	status int  // 0 if it is not known, which means 4xx
	exact  bool // it is the status that was sent
	code   string
	said   string // the registry's own sentence
	ping   bool   // the question was for /v2/, before any image
	token  bool   // the answer is that of the token service
	unread bool   // the library did not read the body
}

// replyOf finds the registry's reply in a library's error.
func replyOf(err error) (reply, bool) {
	text := err.Error()
	r := reply{ping: strings.Contains(text, "pinging container registry ")}
	for _, prefix := range []string{"Requesting bearer token: ", "Trying to obtain access token: "} {
		r.token = r.token || strings.Contains(text, prefix)
	}
	var (
		unexpected docker.UnexpectedHTTPStatusError
		refused    docker.ErrUnauthorizedForCredentials
		coded      errcode.Error
		bare       errcode.ErrorCode
	)
	isRefused := errors.As(err, &refused)
	if errors.As(err, &coded) || isRefused && errors.As(refused.Err, &coded) { // which it does not unwrap
		r.fromCode(coded)
	}
	status, body := unparsedBody(err)
	switch {
	case isRefused:
		r.status, r.exact, r.token = http.StatusUnauthorized, true, true
	case errors.As(err, &unexpected):
		r.status, r.exact, r.unread = unexpected.StatusCode, true, true
	case status != 0:
		r.status, r.exact, r.said = status, true, sentence(body)
	case errors.Is(err, docker.ErrTooManyRequests):
		r.status, r.exact = http.StatusTooManyRequests, true
	case r.code != "":
	case errors.As(err, &bare):
		r.fromCode(bare.WithMessage(bare.Message()))
	default:
		m := bodyStatus().FindStringSubmatch(text)
		if m == nil {
			return reply{}, false
		}
		r.status, _ = strconv.Atoi(m[1]) // the expression admits nothing else
		r.exact = true
	}
	return r, true
}

// fromCode takes over an error in the form that the distribution specification
// has for the body of an answer 4xx. The library reads no body of any other.
func (r *reply) fromCode(e errcode.Error) {
	known := e.Code.Descriptor()
	if r.code = known.Value; known.Code != errcode.ErrorCodeUnknown {
		r.status, r.exact = known.HTTPStatusCode, true
	}
	if e.Message != e.Code.Message() {
		r.said = sentence([]byte(e.Message))
	}
	if detail, ok := e.Detail.([]byte); ok && r.said == "" {
		r.said = sentence(detail) // a body that is not JSON
	}
}

// bodyStatus is how the library reports an HTTP status whose body it could not
// parse.
var bodyStatus = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`StatusCode: ([1-5][0-9]{2})\b`) })

// unparsedBody returns the status and the body of an answer that the library
// could not parse, or 0. Its type for that has exported fields but no exported
// name, and its text has only the body's first 50 bytes.
func unparsedBody(err error) (int, []byte) {
	for _, e := range chain(err) {
		v := reflect.ValueOf(e)
		if v.Type().String() != "*docker.unexpectedHTTPResponseError" || v.Elem().Kind() != reflect.Struct {
			continue
		}
		status, body := v.Elem().FieldByName("StatusCode"), v.Elem().FieldByName("Response")
		if status.IsValid() && status.CanInt() && body.IsValid() && body.Kind() == reflect.Slice {
			return int(status.Int()), body.Bytes()
		}
	}
	return 0, nil
}

// chain returns an error and all that it wraps.
func chain(err error) []error {
	list := []error{err}
	switch wrapper := err.(type) { //nolint:errorlint // this unwraps
	case interface{ Unwrap() error }:
		if inner := wrapper.Unwrap(); inner != nil {
			list = append(list, chain(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range wrapper.Unwrap() {
			list = append(list, chain(inner)...)
		}
	}
	return list
}

// httpStatus finds the HTTP status in a library's error, or returns 0. Where the
// library forgot it, it is the lowest that it can have been.
func httpStatus(err error) int {
	r, ok := replyOf(err)
	switch {
	case !ok:
		return 0
	case r.missing():
		return http.StatusNotFound
	case r.status == 0:
		return http.StatusBadRequest
	}
	return r.status
}

func (r reply) isAccess() bool {
	return r.status == http.StatusUnauthorized || r.status == http.StatusForbidden
}

// access puts 401 and 403 into words.
func (r reply) access(credentials bool) string {
	switch {
	case r.status == http.StatusForbidden:
		return "denies access" + r.parenthesis()
	case credentials:
		return "does not accept the credentials" + r.parenthesis()
	}
	return "asks for credentials" + r.parenthesis()
}

// missing reports whether the registry says that there is nothing under the
// name. Harbor and others have codes of their own for that.
func (r reply) missing() bool {
	return r.status == http.StatusNotFound && !r.ping && !r.token ||
		r.status == 0 && strings.Contains(strings.ToLower(r.said), "not found")
}

func (r reply) noRepo() bool { return r.code == v2.ErrorCodeNameUnknown.String() }

func (r reply) busy() bool { return r.status == http.StatusTooManyRequests }

// partial reports whether the registry said more than the library kept. A gateway
// that cannot reach it has nothing to say.
func (r reply) partial() bool {
	gateway := r.status == http.StatusBadGateway || r.status == http.StatusGatewayTimeout
	return !r.exact || r.unread && !gateway
}

// transient reports whether the same question may get a different answer in a
// moment.
func (r reply) transient() bool {
	switch r.status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return r.status >= 500
}

// name returns the status as it was sent, in words.
func (r reply) name() string {
	if !r.exact {
		return "an error"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)))
}

// parenthesis returns the status, for the end of a sentence.
func (r reply) parenthesis() string {
	if !r.exact {
		return ""
	}
	return fmt.Sprintf(" (%d)", r.status)
}

// told returns the registry's sentence, unless it only repeats what is said anyway.
func (r reply) told() string {
	bare := strings.TrimPrefix(strings.ToLower(strings.TrimRight(r.said, ".! ")), strconv.Itoa(r.status)+" ")
	switch bare {
	case strings.ToLower(http.StatusText(r.status)), "unauthorized", "authentication required", "access denied",
		"denied", "not found", "manifest unknown", "name unknown", "unknown", "unknown error":
		return ""
	}
	return r.said
}

// sentence finds what the body of an answer says to people: in the forms that
// registries and the services around them write, or in a web page its title.
func sentence(body []byte) string {
	text := strings.TrimSpace(string(body))
	var parsed any
	switch {
	case text == "":
		return ""
	case json.Unmarshal(body, &parsed) == nil:
		if _, isNumber := parsed.(float64); isNumber {
			return ""
		}
		return plain(spoken(parsed, 0))
	case strings.HasPrefix(text, "<"):
		for _, element := range []string{"Message", "title", "h1", "Code"} {
			if inner := elementText(text, element); inner != "" {
				return plain(inner)
			}
		}
		return ""
	}
	return plain(strings.ToValidUTF8(text, "?"))
}

// spoken finds the sentence in parsed JSON. The names are those of the
// distribution specification, OAuth (RFC 6749), problem details (RFC 9457) and
// of what Harbor, Artifactory, Quay, GitLab, Pulp and AWS answer with.
func spoken(value any, depth int) string {
	if depth > 4 {
		return ""
	}
	switch v := value.(type) {
	case string:
		return v
	case []any:
		for _, entry := range v {
			if s := spoken(entry, depth+1); s != "" {
				return s
			}
		}
	case map[string]any:
		for _, key := range []string{"errors", "message", "Message", "error_description", "details", "detail",
			"error_message", "title", "error", "code"} {
			if s := spoken(v[key], depth+1); s != "" {
				return s
			}
		}
	}
	return ""
}

// elementText returns the text in the first element of a name, without the
// elements in it.
func elementText(text, name string) string {
	text = strings.ToValidUTF8(text, "?")
	// Only of ASCII do both cases have the same length.
	lower := strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, text)
	open, shut := "<"+strings.ToLower(name), "</"+strings.ToLower(name)
	start := strings.Index(lower, open)
	if start < 0 {
		return ""
	}
	begin := strings.Index(text[start:], ">")
	if begin < 0 {
		return ""
	}
	begin += start + 1
	end := strings.Index(lower[begin:], shut)
	if end < 0 {
		return ""
	}
	var b strings.Builder
	inside := false
	for _, c := range text[begin : begin+end] {
		switch {
		case c == '<':
			inside = true
		case c == '>':
			inside = false
		case !inside:
			b.WriteRune(c)
		}
	}
	return strings.TrimSpace(b.String())
}

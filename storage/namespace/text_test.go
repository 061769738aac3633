package namespace_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage/namespace"
)

// Every string arrives with the bytes it has.
func TestMarshal(t *testing.T) {
	type named string
	type inner struct {
		Text  named
		Next  *inner
		Bytes []byte
	}
	type request struct {
		inner
		List  []string
		Array [2]string
		Map   map[string][]named
		Any   any
		Time  time.Time
		Raw   json.RawMessage
		Nil   []string
		Flag  *bool
	}
	flag := false
	for _, text := range []string{
		"", "plain", "caf\xe9", "\xff\xfe/\x80", "a\ufffdb", `\ufffd`, `\u0000base64:QQ==`, "\x00base64:QQ==", "\x00base64:",
		"é ✓ \"\\\n<>&", strings.Repeat("\xe9", 300),
	} {
		want := request{
			inner: inner{Text: named(text), Next: &inner{Text: "x" + named(text)}, Bytes: []byte(text)},
			List:  []string{"plain", text, ""}, Array: [2]string{text, "x"}, Map: map[string][]named{text: {named(text)}, "x" + text: nil},
			Any: text, Time: time.Date(2016, 4, 1, 12, 0, 0, 0, time.UTC), Raw: json.RawMessage(`{"a":1}`), Flag: &flag,
		}
		data, err := namespace.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got request
		if err := namespace.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: arrived as\n%+v\nof\n%+v\nby\n%s", text, got, want, data)
		}
		// A request within a request, as a worker's is.
		if data, err = namespace.Marshal(map[string]any{"order": want, "of": text}); err != nil {
			t.Fatal(err)
		}
		var outer struct {
			Order json.RawMessage `json:"order"`
			Of    string          `json:"of"`
		}
		got = request{}
		if err := errors.Join(namespace.Unmarshal(data, &outer), namespace.Unmarshal(outer.Order, &got)); err != nil {
			t.Fatal(err)
		}
		if outer.Of != text || !reflect.DeepEqual(got, want) {
			t.Errorf("%q in another request: %q, %+v", text, outer.Of, got)
		}
	}
	if _, err := namespace.Marshal(func() {}); err == nil {
		t.Error("a function is encoded")
	}
}

func TestCheckText(t *testing.T) {
	if err := namespace.CheckText("/a", "/é", ""); err != nil {
		t.Error(err)
	}
	var text *namespace.TextError
	if err := namespace.CheckText("/a", "/caf\xe9"); !errors.As(err, &text) || text.Error() != `the name of "/caf\xe9" is not UTF-8` {
		t.Error(err)
	}
}

package namespace

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Paths and arguments are bytes, and JSON has none: encoding/json writes U+FFFD for
// each byte that is not UTF-8. A string with such bytes crosses as mark and its
// base64.

const (
	mark       = "\x00base64:" // no path, argument or variable has a NUL in it
	markInJSON = `\u0000base64:`
	lostInJSON = `\ufffd` // the character itself is written as it is
)

// Marshal is json.Marshal for what [Unmarshal] reads: every string arrives with the
// bytes it has, those of types with a text or JSON form of their own excepted.
func Marshal(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil || !bytes.Contains(data, []byte(lostInJSON)) && !bytes.Contains(data, []byte(markInJSON)) {
		return data, err
	}
	return json.Marshal(mapped(reflect.ValueOf(v), markText).Interface())
}

// Unmarshal is json.Unmarshal of what [Marshal] wrote.
func Unmarshal(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil || !bytes.Contains(data, []byte(markInJSON)) {
		return err
	}
	to := reflect.ValueOf(v).Elem()
	to.Set(mapped(to, unmarkText))
	return nil
}

func markText(s string) string {
	if utf8.ValidString(s) && !strings.HasPrefix(s, mark) {
		return s
	}
	return mark + base64.StdEncoding.EncodeToString([]byte(s))
}

func unmarkText(s string) string {
	text, marked := strings.CutPrefix(s, mark)
	data, err := base64.StdEncoding.DecodeString(text)
	if !marked || err != nil {
		return s
	}
	return string(data)
}

var (
	textForm = reflect.TypeFor[encoding.TextMarshaler]()
	jsonForm = reflect.TypeFor[json.Marshaler]()
)

// mapped is a copy of a value with another text in the place of each string in it.
func mapped(v reflect.Value, text func(string) string) reflect.Value {
	if !v.IsValid() || v.Type().Implements(textForm) || v.Type().Implements(jsonForm) {
		return v
	}
	to := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		to.SetString(text(v.String()))
	case reflect.Struct:
		to.Set(v)
		mapFields(to, text)
	case reflect.Array:
		for i := range v.Len() {
			to.Index(i).Set(mapped(v.Index(i), text))
		}
	case reflect.Slice:
		if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
			return v
		}
		to.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			to.Index(i).Set(mapped(v.Index(i), text))
		}
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		to.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for key, value := range v.Seq2() {
			to.SetMapIndex(mapped(key, text), mapped(value, text))
		}
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		to.Set(reflect.New(v.Type().Elem()))
		to.Elem().Set(mapped(v.Elem(), text))
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		to.Set(mapped(v.Elem(), text))
	default:
		return v
	}
	return to
}

// mapFields maps the exported fields of a copy of a struct, among them those of a
// struct in it that has no name, be its type exported or not.
func mapFields(v reflect.Value, text func(string) string) {
	for i := range v.NumField() {
		field := v.Field(i)
		switch {
		case field.CanSet():
			field.Set(mapped(field, text))
		case v.Type().Field(i).Anonymous && field.Kind() == reflect.Struct:
			mapFields(field, text)
		}
	}
}

// A TextError says that the name of a directory is not UTF-8, as it has to be where
// formats that know nothing else speak of it: kbuild's own and temporary ones.
type TextError struct{ Path string }

func (e *TextError) Error() string { return fmt.Sprintf("the name of %q is not UTF-8", e.Path) }

// CheckText returns a [*TextError] for the first of the directories that has such a
// name.
func CheckText(dirs ...string) error {
	for _, dir := range dirs {
		if !utf8.ValidString(dir) {
			return &TextError{dir}
		}
	}
	return nil
}

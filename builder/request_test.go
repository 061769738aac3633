package builder

import (
	"encoding"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage/namespace"
)

// TestOrders fills every field of every order, sends it through JSON as it goes
// to the worker, and compares.
func TestOrders(t *testing.T) {
	for name, v := range verbs {
		t.Run(name, func(t *testing.T) { roundTrip(t, v.order) })
	}
	t.Run("the report", func(t *testing.T) { roundTrip(t, reflect.TypeFor[Reporting]()) })
}

func roundTrip(t *testing.T, of reflect.Type) {
	want, got := reflect.New(of), reflect.New(of)
	n := 0
	fill(t, want.Elem(), of.Name(), &n)
	data, err := namespace.Marshal(want.Interface())
	if err != nil {
		t.Fatal(err)
	}
	if err := namespace.Unmarshal(data, got.Interface()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Interface(), want.Interface()) {
		t.Errorf("arrived as\n%+v\nof\n%+v\nby\n%s", got.Elem(), want.Elem(), data)
	}
}

// fill sets everything in a value to something of its own. Types that cross as
// text have a grammar, and a sample below.
func fill(t *testing.T, v reflect.Value, path string, n *int) {
	*n++
	if sample, ok := samples(t)[v.Type()]; ok {
		v.Set(reflect.ValueOf(sample))
		return
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		t.Errorf("%s crosses as text, and there is no sample of %v", path, v.Type())
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(fmt.Sprint("caf\xe9 ", *n)) // a path is bytes
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	case reflect.Uint32:
		v.SetUint(uint64(*n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), path, n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(t, v.Index(i), fmt.Sprintf("%s[%d]", path, i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(t, key, path+" key", n)
		fill(t, value, path+" value", n)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if v.Type() == reflect.TypeFor[container.Dockerfile]() && field.Name == "Log" {
				continue // the worker's own, since a writer cannot cross
			}
			if field.Tag.Get("json") == "-" {
				t.Errorf("%s.%s does not cross to the worker", path, field.Name)
			}
			if !field.IsExported() {
				t.Errorf("%s.%s is not exported: it would be lost on the way to the worker", path, field.Name)
				continue
			}
			fill(t, v.Field(i), path+"."+field.Name, n)
		}
	default:
		t.Errorf("%s is a %v, which cannot cross to the worker", path, v.Kind())
	}
}

// samples are values of the types that cross as text.
func samples(t *testing.T) map[reflect.Type]any {
	t.Helper()
	named, err := reference.ParseNormalizedNamed("localhost/kube-build:build-0123456789")
	if err != nil {
		t.Fatal(err)
	}
	source, err := mirror.ParseSource("library.example/x/kube-cross:v1")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := mirror.ParseCachePlace("cache.example/team/kbuild")
	if err != nil {
		t.Fatal(err)
	}
	list := []any{
		Name{named}, source, cache, preflight.Fatal, kube.Platform{OS: "linux", Arch: "arm64"},
		mirror.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		sources.Manifest{{Path: "a", Kind: sources.Dir}, {Path: "a/b", Kind: sources.File, Exec: true, Size: 3, Sum: [32]byte{1, 2}}},
	}
	of := map[reflect.Type]any{}
	for _, sample := range list {
		of[reflect.TypeOf(sample)] = sample
	}
	return of
}

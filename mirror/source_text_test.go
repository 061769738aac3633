package mirror

import (
	"reflect"
	"testing"
)

// A source is the same after its way to another process.
func TestSourceText(t *testing.T) {
	for _, text := range []string{
		"r.example/x/kube-cross", "r.example:5000/x/y:tag", "docker.io/golang", "docker://docker.io/library/golang:1.4", "m.example", "127.0.0.1:5000",
		"localhost", "localhost/", "r.example/x/y@sha256:0123456789012345678901234567890123456789012345678901234567890123",
		"oci:/tmp/x:name", "oci-archive:x.tar", "docker-archive:x.tar:r.example/a:b", "dir:/x", "containers-storage:kube-cross:v1", "bundle:/x/y",
	} {
		want, err := ParseSource(text)
		if err != nil {
			t.Fatal(err)
		}
		data, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got Source
		if err := got.UnmarshalText(data); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: as %s it became %+v, %v; want %+v", text, data, got, err, want)
		}
		if again, err := ParseSource(want.Text()); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%s: %s is %+v, %v; want %+v", text, want.Text(), again, err, want)
		}
	}
	var none Source
	if data, err := (Source{}).MarshalText(); err != nil || none.UnmarshalText(data) != nil || !reflect.DeepEqual(none, Source{}) {
		t.Errorf("no source: %q, %v, %+v", data, err, none)
	}
}

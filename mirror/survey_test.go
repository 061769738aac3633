package mirror

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// sparseBomb is a layer whose one entry says that it is sparse (GNU format 1.0),
// with a map of n parts: a few hundred kilobytes list tens of millions of them,
// and who reads the map into memory needs gigabytes (CVE-2025-58183).
func sparseBomb(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	first := fmt.Sprintf("%d\n", n)
	size := int64(len(first) + 4*n)
	size += -size & 511
	// archive/tar writes no sparse files: the header is made by hand.
	record := func(key, value string) string {
		length := len(key) + len(value) + 3
		for len(fmt.Sprint(length))+len(key)+len(value)+3 != length {
			length++
		}
		return fmt.Sprintf("%d %s=%s\n", length, key, value)
	}
	pax := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") +
		record("GNU.sparse.name", "x") + record("GNU.sparse.realsize", "0")
	for _, h := range []*tar.Header{
		{Name: "PaxHeaders/x", Typeflag: tar.TypeReg, Size: int64(len(pax)), Format: tar.FormatUSTAR},
		{Name: "x", Typeflag: tar.TypeReg, Size: size, Mode: 0o644, Format: tar.FormatGNU},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Name == "x" {
			break
		}
		if _, err := io.WriteString(w, pax); err != nil {
			t.Fatal(err)
		}
	}
	chunk := strings.Repeat("0\n", 1<<16)
	if _, err := io.WriteString(w, first); err != nil {
		t.Fatal(err)
	}
	for left := 4 * n; left > 0; left -= len(chunk) {
		if _, err := io.WriteString(w, chunk[:min(left, len(chunk))]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(make([]byte, size-int64(len(first)+4*n))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return asPAX(t, b.Bytes())
}

// asPAX makes the first entry of a compressed archive one of PAX records.
func asPAX(t *testing.T, layer []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(layer))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	raw[156] = tar.TypeXHeader
	copy(raw[148:156], "        ")
	sum := 0
	for _, c := range raw[:512] {
		sum += int(c)
	}
	copy(raw[148:156], fmt.Sprintf("%06o\x00 ", sum))
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestSurvey(t *testing.T) {
	dir := t.TempDir()
	bomb := sparseBomb(t, 2_000_000)
	if len(bomb) > smallLayer {
		t.Fatalf("the layer has %d bytes", len(bomb))
	}
	if err := survey(t.Context(), bytes.NewReader(bomb), dir); err == nil || !strings.Contains(err.Error(), "sparse") {
		t.Errorf("a sparse file of very many parts: got %v", err)
	}

	free, err := freeSpace(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Only the headers: who unpacks them would have filled the disk by then.
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "x", Size: free + 1<<30, Format: tar.FormatGNU}); err != nil {
		t.Fatal(err)
	}
	var full *SpaceError
	if err := survey(t.Context(), &b, dir); !errors.As(err, &full) || full.Need <= full.Free || full.Dir != dir {
		t.Errorf("a file larger than what is free: got %v", err)
	}

	if err := survey(t.Context(), strings.NewReader("not an archive"), dir); err != nil {
		t.Errorf("what is not an archive is for the store to say: got %v", err)
	}
}

// What a configuration lists is bounded.
func TestCheckConfig(t *testing.T) {
	list := func(n int, entry string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
	}
	for _, test := range []struct{ name, config, says string }{
		{"an ordinary one", `{"config":{"Env":["A=b"]},"history":[{}],"rootfs":{"diff_ids":["sha256:x"]}}`, ""},
		{"many variables", `{"config":{"Env":` + list(mostSettings+1, `"A=b"`) + `}}`, "10001 variables"},
		{"a long command", `{"config":{"Cmd":` + list(mostSettings+1, `"x"`) + `}}`, "10001 words"},
		{"a long history", `{"history":` + list(mostHistory+1, `{}`) + `}`, "2001 steps"},
		{"many layers", `{"rootfs":{"diff_ids":` + list(mostLayers+1, `"x"`) + `}}`, "501 layers"},
	} {
		err := checkConfig([]byte(test.config))
		if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.says)
		}
	}
}

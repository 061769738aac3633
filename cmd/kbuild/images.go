package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path"
	"text/tabwriter"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// listed is an image as kbuild images shows it.
type listed struct {
	Name    string    `json:"name"`
	Tag     string    `json:"tag"`
	ID      string    `json:"id"`
	Digest  string    `json:"digest"`
	Created time.Time `json:"created"`
	Size    int64     `json:"size"` // bytes
	Origin  string    `json:"origin"`
	// From is all that is known of where kbuild brought the image from; nil when
	// it did not.
	From *mirror.Origin `json:"from,omitempty"`
}

// listImages shows the kube-cross and kube-build images: those named so, and
// those kbuild brought from somewhere under another name.
func (w *worker) listImages(store *storage.Store, out io.Writer) error {
	images, err := store.Images()
	if err != nil {
		return err
	}
	rows := []listed{}
	for _, img := range images {
		origin, known, err := mirror.ReadOrigin(store, img.ID)
		if err != nil {
			return err
		}
		from, brought := "", (*mirror.Origin)(nil)
		if known {
			from, brought = origin.Source, &origin
		}
		created := image.Created(store, img)
		for _, n := range img.Names {
			named, err := reference.ParseNormalizedNamed(n)
			if err != nil {
				continue
			}
			base := path.Base(named.Name())
			if !known && base != "kube-cross" && base != "kube-build" {
				continue
			}
			size, err := store.Size(img.ID)
			if err != nil {
				return err
			}
			tag := ""
			if tagged, ok := named.(reference.Tagged); ok {
				tag = tagged.Tag()
			}
			rows = append(rows, listed{
				Name: named.Name(), Tag: tag, ID: img.ID, Digest: img.Digest.String(), Created: created, Size: size, Origin: from, From: brought,
			})
		}
	}
	if w.Format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tTAG\tID\tDIGEST\tCREATED\tSIZE\tORIGIN")
	for _, r := range rows {
		from := r.Origin
		if r.From != nil {
			from = fmt.Sprintf("%s %s, %s", from, r.From.Digest, r.From.Time.Format("2006-01-02 15:04"))
		}
		fmt.Fprintf(t, "%s\t%s\t%.12s\t%.19s\t%s\t%d MB\t%s\n", r.Name, r.Tag, r.ID, r.Digest,
			r.Created.Format("2006-01-02 15:04"), (r.Size+500_000)/1_000_000, from)
	}
	return t.Flush()
}

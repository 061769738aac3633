package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/mirror"
)

// mirrorHints are those for the errors of package mirror.
func mirrorHints() []hint {
	return []hint{
		from(pullHint),
		from(sourceHint),
		from(policyHint),
		from(formHint),
		from(func(e *mirror.SyntaxError) string {
			if e.Write == "" {
				return ""
			}
			return "write " + e.Write
		}),
		from(func(e *mirror.PlatformError) string {
			if len(e.Has) == 0 {
				return ""
			}
			return "to use it anyway: --platform " + e.Has[0]
		}),
		either(func(e *mirror.OfflineError) bool { return e.Part != "" },
			"use an image that holds all its parts, or leave out --offline and KBUILD_OFFLINE", offlineHint),
		of[*mirror.TimeoutError](
			"what has arrived is kept, and the next run continues from there; --timeout allows more time"),
		of[*mirror.SharedCredentialsError]("use --authfile, which has them for each registry"),
		from(func(e *mirror.ConfigError) string {
			flag := "--registries-conf"
			if e.File == "containers-policy.json" {
				flag = "--policy"
			}
			return fmt.Sprintf("fix the file, see %s(5), or name a different one with %s", e.File, flag)
		}),
		from(func(e *mirror.AmbiguousError) string {
			return fmt.Sprintf("name one of them: --mirror %s:%s", e.Source, e.Names[0])
		}),
		of[*mirror.ExistsError]("remove it, or use a different name"),
		from(func(e *mirror.SpaceError) string {
			return "free some space in " + e.Dir + "; --root moves the store, TMPDIR the temporary files"
		}),
		of[*mirror.StoreSourceError]("name the registry or the archive that it was pulled from: --mirror REF"),
		from(func(e *mirror.LockError) string {
			text := "a different mirror may still have the locked image"
			if e.Entry.Manifest != "" {
				text += "; --mirror REF@" + e.Entry.Manifest.String() + " asks for exactly that one"
			}
			return text + "\nif the change is intended, kbuild lock records the new digests"
		}),
		from(func(e *mirror.LockSyntaxError) string {
			return cmp.Or(hintFor(e.Reason), "restore kbuild.lock from version control, or write it again: kbuild lock")
		}),
		either(func(e *mirror.VersionError) bool { return e.File == mirror.LockFile },
			"use the kbuild that wrote it, or a newer one", "use the kbuild in the bundle: tar -xf FILE "+mirror.BundleProgram),
		of[*mirror.CacheReadOnlyError]("kbuild bundle save --cache writes one"),
		from(func(e *mirror.BundleError) string {
			return cmp.Or(hintFor(e.Reason),
				"copy the bundle again, and compare it with the original: kbuild bundle verify FILE")
		}),
	}
}

const offlineHint = "use what is on this host: --mirror FILE with a bundle (kbuild bundle save writes one), " +
	"or oci:, oci-archive:, docker-archive: or dir:; or leave out --offline and KBUILD_OFFLINE"

// noRegistryHint is the way to a base image that needs no registry.
const noRegistryHint = `where no registry has the image, make it of Debian packages and the Go module proxy:
mmdebstrap --variant=minbase --include=ca-certificates,gcc,git,libc6-dev,make,rsync bookworm rootfs.tar
kbuild cross --rootfs rootfs.tar`

// pullHint collects what can be done about each attempt. Where no registry
// provides the image, and none was kept from doing so, it adds the way without.
func pullHint(e *mirror.PullError) string {
	var hints []string
	add := func(text string) {
		if text != "" && !slices.Contains(hints, text) {
			hints = append(hints, text)
		}
	}
	asked, refused := false, false
	for _, a := range e.Attempts {
		add(hintFor(a.Err))
		asked = asked || a.Source.IsRegistry()
		refused = refused || isRefused(a.Err)
	}
	if e.Original {
		add("name a registry or an archive that has the image: --mirror REF")
	}
	if asked && !refused {
		add(noRegistryHint)
	}
	return strings.Join(hints, "\n")
}

// isRefused reports whether an attempt found an image, or was not made, for a
// reason that the user gave: then no other image is what is missing.
func isRefused(err error) bool {
	return isA[*mirror.LockError](err) || isA[*mirror.PolicyError](err) || isA[*mirror.PlatformError](err) ||
		isA[*mirror.OfflineError](err) || isA[*mirror.SpaceError](err)
}

// sourceHint says what can be done about a registry's answer.
func sourceHint(e *mirror.SourceError) string {
	return map[mirror.Problem]string{
		mirror.NoAccess: "give --creds user:password, or --authfile; " +
			"many registries answer this for what does not exist, too",
		mirror.PlainHTTP:        "if you trust the network between here and there: --tls-verify=false",
		mirror.Untrusted:        "give the certificate of its authority with --cert-dir, see containers-certs.d(5)",
		mirror.WrongBytes:       "the mirror is broken, or was tampered with",
		mirror.LeaksCredentials: "they are for " + e.Host + " only; ask its owner, or use a different mirror",
		mirror.NotRegistry:      "check the name and the port; --mirror takes a registry, not a web page",
	}[e.Problem]
}

// formHint says how to use what a file or directory is instead.
func formHint(e *mirror.FormError) string {
	switch {
	case e.Rootfs:
		return "docker save and podman save write images; to make an image of a file system: kbuild cross --rootfs " + e.Path
	case len(e.Transports) > 0:
		return "use --mirror " + e.Transports[0] + ":" + e.Path
	case e.Form == "a bundle":
		return "kbuild bundle save writes bundles; use other archives as oci-archive:FILE or docker-archive:FILE"
	}
	return "oci: and dir: are directories; oci-archive: and docker-archive: are files, " +
		"in two formats that podman save and skopeo write"
}

// policyHint says what to write into the policy so that signed images are
// accepted.
func policyHint(e *mirror.PolicyError) string {
	if e.Want == "" {
		return "see containers-policy.json(5), or name a different file with --policy"
	}
	file := e.Policy
	if file == "" {
		file = "~/.config/containers/policy.json"
		if home, err := os.UserHomeDir(); err == nil {
			file = filepath.Join(home, ".config/containers/policy.json")
		}
	}
	const key = `"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/path/to/key.gpg"`
	text := fmt.Sprintf("to accept what your key signed, put under \"transports\" in %s:\n", file)
	if e.Transport != "docker" {
		return text + fmt.Sprintf("%q: {%q: [{%s}]}\n--policy names a different policy", e.Transport, e.Identity, key)
	}
	text += fmt.Sprintf("\"docker\": {%q: [{%s}]}", e.Want, key)
	if e.Mirror != "" && e.Mirror != e.Want {
		text += fmt.Sprintf("\nor, for this mirror only:\n\"docker\": {%q: [{%s, \"signedIdentity\": "+
			"{\"type\": \"remapIdentity\", \"prefix\": %[1]q, \"signedPrefix\": %[3]q}}]}", e.Mirror, key, e.Want)
	}
	return text + "\nfor sigstore the type is \"sigstoreSigned\", without \"keyType\"; registries.d configures where " +
		"signatures are stored, see containers-registries.d(5)\n--policy names a different policy"
}

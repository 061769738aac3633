// Package mirror copies images from one place to another: from a registry or an
// archive into the store, under the name that is asked for. It knows images and
// registries, and nothing of Kubernetes trees. No other package copies images.
package mirror

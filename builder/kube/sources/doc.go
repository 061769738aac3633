// Package sources knows the files of a tree that are compiled: which they are
// (a list or a filter), what they hold (a manifest), whether they changed since
// the last look (a fingerprint), and how they are packed (an archive). It knows
// nothing of Kubernetes.
package sources

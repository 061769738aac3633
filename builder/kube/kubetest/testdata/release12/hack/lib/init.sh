#!/bin/bash

# Sourced first by every script: where things are, and the other libraries.

set -o errexit
set -o nounset
set -o pipefail

KUBE_ROOT=$(
  unset CDPATH
  cd "$(dirname "${BASH_SOURCE}")/../.."
  pwd
)

KUBE_OUTPUT_SUBPATH="${KUBE_OUTPUT_SUBPATH:-_output/local}"
KUBE_OUTPUT="${KUBE_ROOT}/${KUBE_OUTPUT_SUBPATH}"
KUBE_OUTPUT_BINPATH="${KUBE_OUTPUT}/bin"

# Says what is going on.
kube::log::status() {
  echo "+++ $*"
}

# Says what went wrong.
kube::log::error() {
  echo "!!! $*" >&2
}

source "${KUBE_ROOT}/hack/lib/version.sh"
source "${KUBE_ROOT}/hack/lib/golang.sh"

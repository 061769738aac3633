#!/bin/bash

# Compiles the programs named as arguments (cmd/kubelet), or all of them.
# Arguments that start with a dash are given to the go command.

set -o errexit
set -o nounset
set -o pipefail

KUBE_ROOT=$(dirname "${BASH_SOURCE}")/../..
source "${KUBE_ROOT}/hack/lib/init.sh"

kube::golang::build_binaries "$@"
kube::golang::place_bins

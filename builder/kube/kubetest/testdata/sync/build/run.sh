#!/bin/bash

# Runs a command, usually make, in the build container.

set -o errexit
set -o nounset
set -o pipefail

KUBE_ROOT=$(dirname "${BASH_SOURCE}")/..
source "${KUBE_ROOT}/build/common.sh"

kube::build::verify_prereqs
kube::build::build_image
kube::build::run_build_command "$@"
if [[ "${KUBE_RUN_COPY_OUTPUT:-y}" =~ ^[yY]$ ]]; then
  kube::build::copy_output
fi

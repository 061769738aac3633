#!/bin/bash

# What the scripts in build/ share: names, and how a command is run in the
# cross compiler image.

set -o errexit
set -o nounset
set -o pipefail

GOPROXY=${GOPROXY:-""}

KUBE_ROOT=$(cd "$(dirname "${BASH_SOURCE}")"/.. && pwd -P)

source "${KUBE_ROOT}/hack/lib/init.sh"

KUBE_BUILD_IMAGE_CROSS_TAG="${KUBE_CROSS_VERSION:-"$(cat "${KUBE_ROOT}/build/build-image/cross/VERSION")"}"
readonly KUBE_BUILD_IMAGE_CROSS_TAG
KUBE_BASE_IMAGE_REGISTRY="${KUBE_BASE_IMAGE_REGISTRY:-registry.k8s.io/build-image}"
readonly KUBE_BASE_IMAGE_REGISTRY
KUBE_CROSS_IMAGE="${KUBE_CROSS_IMAGE:-"${KUBE_BASE_IMAGE_REGISTRY}/kube-cross"}"
readonly KUBE_CROSS_IMAGE
KUBE_CROSS_VERSION="${KUBE_CROSS_VERSION:-"${KUBE_BUILD_IMAGE_CROSS_TAG}"}"
readonly KUBE_CROSS_VERSION
KUBE_CROSS_CONTAINER_ROOT="/go/src/k8s.io/kubernetes"
readonly KUBE_CROSS_CONTAINER_ROOT

readonly LOCAL_OUTPUT_ROOT="${KUBE_ROOT}/${OUT_DIR:-_output}"

# Prints the first ten digits of the md5 sum of the argument.
function kube::build::short_hash() {
  local sum
  sum=$(printf '%s' "$1" | md5sum)
  echo "${sum:0:10}"
}

# Names the container after the host, the place of the tree and its branch, and
# writes down the version.
function kube::build::verify_prereqs() {
  KUBE_GIT_BRANCH=$(git symbolic-ref --short -q HEAD 2>/dev/null || true)
  KUBE_ROOT_HASH=$(kube::build::short_hash "${HOSTNAME:-}:${KUBE_ROOT}:${KUBE_GIT_BRANCH}")
  KUBE_BUILD_CONTAINER_NAME="kube-build-${KUBE_ROOT_HASH}-6"

  kube::version::get_version_vars
  kube::version::save_version_vars "${KUBE_ROOT}/.dockerized-kube-version-defs"
}

# Runs the arguments in a container that sees the tree.
function kube::build::run_build_command() {
  local -a docker_run_opts=(
    "--name=${KUBE_BUILD_CONTAINER_NAME}"
    "-e=GOPROXY=${GOPROXY}"
  )
  docker_run_opts+=(
    --env "KUBE_FASTBUILD=${KUBE_FASTBUILD:-false}"
    --env "KUBE_BUILDER_OS=${OSTYPE:-notdetected}"
    --env "KUBE_VERBOSE=${KUBE_VERBOSE}"
    --env "KUBE_BUILD_PLATFORMS=${KUBE_BUILD_PLATFORMS:-}"
    --env "KUBE_CGO_OVERRIDES=' ${KUBE_CGO_OVERRIDES[*]:-} '"
    --env "KUBE_RACE=${KUBE_RACE:-}"
    --env "GOFLAGS=${GOFLAGS:-}"
    --env "GOGCFLAGS=${GOGCFLAGS:-}"
    --env "SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-}"
    # the tree, with its output
    --volume "${KUBE_ROOT}:${KUBE_CROSS_CONTAINER_ROOT}"
    --env 'KUBE_OUTPUT_SUBPATH=_output/dockerized'
    --workdir "${KUBE_CROSS_CONTAINER_ROOT}"
  )
  if [ -f /etc/localtime ]; then
    docker_run_opts+=(
      --mount 'type=bind,source=/etc/localtime,target=/etc/localtime,readonly'
    )
  fi
  if [[ -v GOLDFLAGS ]]; then
    docker_run_opts+=(
      --env "GOLDFLAGS=${GOLDFLAGS:-}"
    )
  fi
  if [[ -n "${KUBE_GIT_VERSION_FILE:-}" ]]; then
    cp "${KUBE_GIT_VERSION_FILE}" "${KUBE_ROOT}/.dockerized-kube-version-defs"
    docker_run_opts+=(--env "KUBE_GIT_VERSION_FILE=${KUBE_CROSS_CONTAINER_ROOT}/.dockerized-kube-version-defs")
  fi

  docker run "${docker_run_opts[@]}" "${KUBE_CROSS_IMAGE}:${KUBE_CROSS_VERSION}" "$@"
}

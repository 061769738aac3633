#!/bin/bash

# What the scripts in build/ share: names, what is copied, and how the build
# image is made and used.

set -o errexit
set -o nounset
set -o pipefail

KUBE_ROOT=$(cd "$(dirname "${BASH_SOURCE}")"/.. && pwd -P)

source "${KUBE_ROOT}/hack/lib/init.sh"

readonly KUBE_BUILD_IMAGE_REPO=kube-build
readonly KUBE_BUILD_IMAGE_CROSS_TAG="$(cat "${KUBE_ROOT}/build/build-image/cross/VERSION")"
readonly KUBE_BUILD_IMAGE_VERSION_BASE="$(cat "${KUBE_ROOT}/build/build-image/VERSION")"
readonly KUBE_BUILD_IMAGE_VERSION="${KUBE_BUILD_IMAGE_VERSION_BASE}-${KUBE_BUILD_IMAGE_CROSS_TAG}"

readonly LOCAL_OUTPUT_ROOT="${KUBE_ROOT}/${OUT_DIR:-_output}"
readonly LOCAL_OUTPUT_IMAGE_STAGING="${LOCAL_OUTPUT_ROOT}/images"
readonly REMOTE_ROOT="/go/src/${KUBE_GO_PACKAGE}"

# Prints the first ten digits of the md5 sum of the argument.
function kube::build::short_hash() {
  local sum
  sum=$(printf '%s' "$1" | md5sum)
  echo "${sum:0:10}"
}

# Names images and containers after the host, the place of the tree and its
# branch, and writes down the version.
function kube::build::verify_prereqs() {
  KUBE_GIT_BRANCH=$(git symbolic-ref --short -q HEAD 2>/dev/null || true)
  KUBE_ROOT_HASH=$(kube::build::short_hash "${HOSTNAME:-}:${KUBE_ROOT}:${KUBE_GIT_BRANCH}")
  KUBE_BUILD_IMAGE="${KUBE_BUILD_IMAGE_REPO}:build-${KUBE_ROOT_HASH}-${KUBE_BUILD_IMAGE_VERSION}"
  KUBE_DATA_CONTAINER_NAME="kube-build-data-${KUBE_ROOT_HASH}-${KUBE_BUILD_IMAGE_VERSION}"
  LOCAL_OUTPUT_BUILD_CONTEXT="${LOCAL_OUTPUT_IMAGE_STAGING}/${KUBE_BUILD_IMAGE}"

  kube::version::get_version_vars
  kube::version::save_version_vars "${KUBE_ROOT}/.dockerized-kube-version-defs"
}

# Replaces the placeholder of the Dockerfile in the build context.
function kube::build::update_dockerfile() {
  sed -i "s/KUBE_BUILD_IMAGE_CROSS_TAG/${KUBE_BUILD_IMAGE_CROSS_TAG}/" "${LOCAL_OUTPUT_BUILD_CONTEXT}/Dockerfile"
}

# Appends the proxies to it.
function kube::build::set_proxy() {
  if [[ -n "${KUBERNETES_HTTPS_PROXY:-}" ]]; then
    echo "ENV https_proxy $KUBERNETES_HTTPS_PROXY" >> "${LOCAL_OUTPUT_BUILD_CONTEXT}/Dockerfile"
  fi
  if [[ -n "${KUBERNETES_HTTP_PROXY:-}" ]]; then
    echo "ENV http_proxy $KUBERNETES_HTTP_PROXY" >> "${LOCAL_OUTPUT_BUILD_CONTEXT}/Dockerfile"
  fi
}

# Writes the build context, makes the image from it and copies the sources.
function kube::build::build_image() {
  mkdir -p "${LOCAL_OUTPUT_BUILD_CONTEXT}"
  cp /etc/localtime "${LOCAL_OUTPUT_BUILD_CONTEXT}/"
  cp "${KUBE_ROOT}/build/build-image/Dockerfile" "${LOCAL_OUTPUT_BUILD_CONTEXT}/Dockerfile"
  cp "${KUBE_ROOT}/build/build-image/rsyncd.sh" "${LOCAL_OUTPUT_BUILD_CONTEXT}/"
  echo "${RANDOM}${RANDOM}" >"${LOCAL_OUTPUT_BUILD_CONTEXT}/rsyncd.password"
  kube::build::update_dockerfile
  kube::build::set_proxy
  docker build -t "${KUBE_BUILD_IMAGE}" "${LOCAL_OUTPUT_BUILD_CONTEXT}"
  docker run --volume "${REMOTE_ROOT}" --name "${KUBE_DATA_CONTAINER_NAME}" "${KUBE_BUILD_IMAGE}" true
  kube::build::sync_to_container
}

# Runs the arguments in a container of the image.
function kube::build::run_build_command() {
  kube::build::run_build_command_ex "kube-build-${KUBE_ROOT_HASH}" -- "$@"
}

# Does so in a container of a given name, with options before the dashes.
function kube::build::run_build_command_ex() {
  local -a docker_run_opts=(
    "--name=$1"
    --volumes-from "${KUBE_DATA_CONTAINER_NAME}"
  )
  shift
  while [[ "$1" != "--" ]]; do
    docker_run_opts+=("$1")
    shift
  done
  shift

  docker_run_opts+=(
    --env "KUBE_FASTBUILD=${KUBE_FASTBUILD:-false}"
    --env "KUBE_BUILDER_OS=${OSTYPE:-notdetected}"
    --env "KUBE_VERBOSE=${KUBE_VERBOSE}"
    --env "KUBE_BUILD_PLATFORMS=${KUBE_BUILD_PLATFORMS:-}"
    --env "GOFLAGS=${GOFLAGS:-}"
    --env "GOGCFLAGS=${GOGCFLAGS:-}"
    --env "SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-}"
  )
  # An empty one means other flags than none.
  if [[ -v GOLDFLAGS ]]; then
    docker_run_opts+=(
      --env "GOLDFLAGS=${GOLDFLAGS:-}"
    )
  fi

  docker run "${docker_run_opts[@]}" "${KUBE_BUILD_IMAGE}" "$@"
}

# Copies the sources in: all but output, git's directory and what make
# generates.
function kube::build::sync_to_container() {
  kube::build::run_build_command_ex "kube-rsync-${KUBE_ROOT_HASH}" -d -- /rsyncd.sh
  rsync --archive --delete \
    --filter='H /.git' \
    --filter='- /.make/' \
    --filter='- /_tmp/' \
    --filter='- /_output/' \
    --filter='- /' \
    --filter='H zz_generated.*' \
    "${KUBE_ROOT}/" "rsync://k8s@127.0.0.1:8730/k8s/"
}

# Copies binaries and generated code out.
function kube::build::copy_output() {
  rsync --archive --prune-empty-dirs \
    --filter='- /_temp/' \
    --filter='+ /_output/dockerized/bin/**' \
    --filter='+ zz_generated.*' \
    --filter='+ types.go' \
    --filter='+ */' \
    --filter='- /**' \
    "rsync://k8s@127.0.0.1:8730/k8s/" "${KUBE_ROOT}"
}

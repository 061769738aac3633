#!/bin/bash

# What the scripts in build/ share: names, the list of sources, and how the
# build image is made and used.

set -o errexit
set -o nounset
set -o pipefail

KUBE_ROOT=$(dirname "${BASH_SOURCE}")/..
cd "${KUBE_ROOT}"
KUBE_ROOT=$PWD

source hack/lib/init.sh

# The repository of the build image, and the compiler image it starts from.
readonly KUBE_BUILD_IMAGE_REPO=kube-build
readonly KUBE_BUILD_IMAGE_CROSS_TAG="v1.4.2-1"

readonly LOCAL_OUTPUT_ROOT="${KUBE_ROOT}/_output"
readonly LOCAL_OUTPUT_SUBPATH="${LOCAL_OUTPUT_ROOT}/dockerized"
readonly LOCAL_OUTPUT_BINPATH="${LOCAL_OUTPUT_SUBPATH}/bin"
readonly LOCAL_OUTPUT_IMAGE_STAGING="${LOCAL_OUTPUT_ROOT}/images"
readonly OUTPUT_BINPATH="${CUSTOM_OUTPUT_BINPATH:-$LOCAL_OUTPUT_BINPATH}"
readonly REMOTE_OUTPUT_BINPATH="/go/src/${KUBE_GO_PACKAGE}/_output/dockerized/bin"
readonly REMOTE_OUTPUT_GOPATH="/go/src/${KUBE_GO_PACKAGE}/_output/dockerized/go"
readonly REMOTE_GODEP_GOPATH="/go/src/${KUBE_GO_PACKAGE}/Godeps/_workspace/pkg"

# Prints the first ten digits of the md5 sum of the argument.
function kube::build::short_hash() {
  local sum
  sum=$(printf '%s' "$1" | md5sum)
  echo "${sum:0:10}"
}

# Names the image after the place of the tree.
function kube::build::setup_vars() {
  KUBE_BUILD_IMAGE_TAG="build-$(kube::build::short_hash "${KUBE_ROOT}")"
  KUBE_BUILD_IMAGE="${KUBE_BUILD_IMAGE_REPO}:${KUBE_BUILD_IMAGE_TAG}"
  LOCAL_OUTPUT_BUILD_CONTEXT="${LOCAL_OUTPUT_IMAGE_STAGING}/${KUBE_BUILD_IMAGE}"
}

# Prints what goes into the build image.
function kube::build::source_targets() {
  local targets=(
    build
    cmd
    docs
    Godeps/_workspace/src
    Godeps/Godeps.json
    hack
    LICENSE
    pkg
    plugin
    README.md
    test
    contrib/completions/bash/kubectl
    .generated_docs
  )
  echo "${targets[@]}"
}

# Replaces the placeholders of the Dockerfile in the build context.
function kube::build::update_dockerfile() {
  local file="${LOCAL_OUTPUT_BUILD_CONTEXT}/Dockerfile"
  sed -i "s/KUBE_BUILD_IMAGE_CROSS_TAG/${KUBE_BUILD_IMAGE_CROSS_TAG}/" "${file}"
  sed -i "s#KUBE_BUILD_HTTP_PROXY#${KUBE_BUILD_HTTP_PROXY:-\"\"}#" "${file}"
  sed -i "s#KUBE_BUILD_HTTPS_PROXY#${KUBE_BUILD_HTTPS_PROXY:-\"\"}#" "${file}"
  sed -i "s#KUBE_BUILD_NO_PROXY#${KUBE_BUILD_NO_PROXY:-127.0.0.1}#" "${file}"
}

# Writes the build context and makes the image from it.
function kube::build::build_image() {
  kube::build::setup_vars
  mkdir -p "${LOCAL_OUTPUT_BUILD_CONTEXT}"
  tar czf "${LOCAL_OUTPUT_BUILD_CONTEXT}/kube-source.tar.gz" $(kube::build::source_targets)
  kube::version::get_version_vars
  kube::version::save_version_vars "${LOCAL_OUTPUT_BUILD_CONTEXT}/kube-version-defs"
  cp build/build-image/Dockerfile "${LOCAL_OUTPUT_BUILD_CONTEXT}/Dockerfile"
  kube::build::update_dockerfile
  docker build --tag "${KUBE_BUILD_IMAGE}" "${LOCAL_OUTPUT_BUILD_CONTEXT}"
}

# Runs the arguments in a container of the image; what is compiled is kept in
# volumes.
function kube::build::run_build_command() {
  mkdir -p "${OUTPUT_BINPATH}"
  docker run --rm \
    --volume "${OUTPUT_BINPATH}:${REMOTE_OUTPUT_BINPATH}" \
    --volume /etc/localtime:/etc/localtime:ro \
    --volume "${REMOTE_OUTPUT_GOPATH}" \
    --volume "${REMOTE_GODEP_GOPATH}" \
    --env "KUBE_FASTBUILD=${KUBE_FASTBUILD:-false}" \
    --env "KUBE_BUILDER_OS=${OSTYPE:-notdetected}" \
    "${KUBE_BUILD_IMAGE}" "$@"
}

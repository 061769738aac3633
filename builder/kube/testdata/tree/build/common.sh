#!/bin/bash

# A small build/common.sh: what kbuild reads of one, in the shapes of 1.2.

KUBE_ROOT=$(dirname "${BASH_SOURCE}")/..
cd "${KUBE_ROOT}"
KUBE_ROOT=$PWD

source hack/lib/golang.sh

readonly KUBE_BUILD_IMAGE_CROSS_TAG="v1.4.2-1"

readonly LOCAL_OUTPUT_ROOT="${KUBE_ROOT}/_output"
readonly LOCAL_OUTPUT_SUBPATH="${LOCAL_OUTPUT_ROOT}/dockerized"
readonly LOCAL_OUTPUT_BINPATH="${LOCAL_OUTPUT_SUBPATH}/bin"
readonly OUTPUT_BINPATH="${CUSTOM_OUTPUT_BINPATH:-$LOCAL_OUTPUT_BINPATH}"

function name_image() {
  KUBE_ROOT_HASH=$(kube::build::short_hash "$KUBE_ROOT")
}

function kube::build::short_hash() {
  local sum=$(echo -n "$1" | md5sum)
  echo ${sum:0:10}
}

function kube::build::source_targets() {
  local targets=(
    build
    cmd # the commands
    Godeps/_workspace/src
    'hack'
    pkg
    plugin
    LICENSE
  )
  if [ -n "${KUBERNETES_CONTRIB:-}" ]; then
    for contrib in "${KUBERNETES_CONTRIB}"; do
      targets+=($(eval "kube::contrib::${contrib}::source_targets"))
    done
  fi
  echo "${targets[@]}"
}

function kube::build::run_build_command() {
  local -a docker_run_opts=(
    --volume "${OUTPUT_BINPATH}:/go/src/k8s.io/kubernetes/_output/dockerized/bin"
    --volume /etc/localtime:/etc/localtime:ro
    --volume "${REMOTE_OUTPUT_GOPATH}"
    --volume "${REMOTE_GODEP_GOPATH}"
  )
  if [ -n "${KUBERNETES_CONTRIB:-}" ]; then
    docker_run_opts+=(-e "KUBERNETES_CONTRIB=${KUBERNETES_CONTRIB}")
  fi
  docker_run_opts+=(
    --env "KUBE_FASTBUILD=${KUBE_FASTBUILD:-false}"
    --env "KUBE_BUILDER_OS=${OSTYPE:-notdetected}"
  )
  docker run "${docker_run_opts[@]}" "$@"
}

function fill_dockerfile() {
  sed -i "s/KUBE_BUILD_IMAGE_CROSS_TAG/${KUBE_BUILD_IMAGE_CROSS_TAG}/" "$1"
  sed -i "s#KUBE_BUILD_HTTP_PROXY#${KUBE_BUILD_HTTP_PROXY:-\"\"}#" "$1"
  sed -i "s#KUBE_BUILD_HTTPS_PROXY#${KUBE_BUILD_HTTPS_PROXY:-\"\"}#" "$1"
  sed -i "s#KUBE_BUILD_NO_PROXY#${KUBE_BUILD_NO_PROXY:-127.0.0.1}#" "$1"
}

#!/bin/bash

# What is compiled, and how. Needs bash, the core utilities and go alone.

readonly KUBE_GO_PACKAGE=k8s.io/kubernetes
readonly KUBE_GOPATH="${KUBE_OUTPUT}/go"

# Programs that run on the machines of a cluster.
kube::golang::server_targets() {
  local targets=(
    cmd/kubelet
    plugin/cmd/kube-scheduler
  )
  echo "${targets[@]}"
}
readonly KUBE_SERVER_TARGETS=($(kube::golang::server_targets))
readonly KUBE_SERVER_BINARIES=("${KUBE_SERVER_TARGETS[@]##*/}")

# Programs that people run.
readonly KUBE_CLIENT_TARGETS=(
  cmd/kubectl
)
readonly KUBE_CLIENT_BINARIES=("${KUBE_CLIENT_TARGETS[@]##*/}")

# Programs for testing: one from Godeps, and one made of a package's tests.
kube::golang::test_targets() {
  local targets=(
    example.com/greet/hello
    test/e2e/e2e.test
  )
  echo "${targets[@]}"
}
readonly KUBE_TEST_TARGETS=($(kube::golang::test_targets))
readonly KUBE_TEST_BINARIES=("${KUBE_TEST_TARGETS[@]##*/}")

readonly KUBE_ALL_TARGETS=(
  "${KUBE_SERVER_TARGETS[@]}"
  "${KUBE_CLIENT_TARGETS[@]}"
  "${KUBE_TEST_TARGETS[@]}"
)
readonly KUBE_ALL_BINARIES=("${KUBE_ALL_TARGETS[@]##*/}")

# Programs that are compiled without cgo, wherever they are to run.
readonly KUBE_STATIC_LIBRARIES=(
  kube-scheduler
  kubectl
)

if [[ "${KUBE_FASTBUILD:-}" == "true" ]]; then
  readonly KUBE_CLIENT_PLATFORMS=(
    linux/amd64
  )
else
  readonly KUBE_CLIENT_PLATFORMS=(
    linux/amd64
    linux/arm64
    windows/amd64
  )
fi

# Prints the platform of the machine this runs on.
kube::golang::host_platform() {
  echo "$(go env GOHOSTOS)/$(go env GOHOSTARCH)"
}

# Prints the Go package of each target; a name that begins like a domain is one.
kube::golang::binaries_from_targets() {
  local target
  for target; do
    if [[ "${target}" =~ ^([[:alnum:]]+\.)+[[:alnum:]]+/ ]]; then
      echo "${target}"
    else
      echo "${KUBE_GO_PACKAGE}/${target}"
    fi
  done
}

# Tells whether a package is one of KUBE_STATIC_LIBRARIES.
kube::golang::is_static() {
  local name
  for name in "${KUBE_STATIC_LIBRARIES[@]}"; do
    [[ "$1" != */"${name}" ]] || return 0
  done
  return 1
}

# Makes the tree visible under its import path, and exports GOPATH.
kube::golang::setup_env() {
  if ! type -P go >/dev/null; then
    kube::log::error "there is no go command in PATH"
    exit 2
  fi

  mkdir -p "${KUBE_GOPATH}/src/k8s.io"
  rm -f "${KUBE_GOPATH}/src/${KUBE_GO_PACKAGE}"
  ln -s "${KUBE_ROOT}" "${KUBE_GOPATH}/src/${KUBE_GO_PACKAGE}"

  export GOPATH="${KUBE_GOPATH}:${KUBE_ROOT}/Godeps/_workspace"
  export GO111MODULE=off
  unset GOBIN
}

# Compiles "binaries" for the platform in GOOS and GOARCH.
kube::golang::build_binaries_for_platform() {
  local -a statics=() others=() tests=()
  local binary
  for binary in "${binaries[@]}"; do
    if [[ "${binary}" == *.test ]]; then
      tests+=("${binary}")
    elif kube::golang::is_static "${binary}"; then
      statics+=("${binary}")
    else
      others+=("${binary}")
    fi
  done

  if [[ "${#others[@]}" != 0 ]]; then
    go install ${goflags[@]+"${goflags[@]}"} -ldflags "${goldflags}" "${others[@]}"
  fi
  if [[ "${#statics[@]}" != 0 ]]; then
    CGO_ENABLED=0 go install -installsuffix cgo \
      ${goflags[@]+"${goflags[@]}"} -ldflags "${goldflags}" "${statics[@]}"
  fi

  local bin="${KUBE_GOPATH}/bin"
  if [[ "${platform}" != "${host_platform}" ]]; then
    bin+="/${platform//\//_}"
  fi
  for binary in ${tests[@]+"${tests[@]}"}; do
    mkdir -p "${bin}"
    (
      cd "${bin}"
      go test -c ${goflags[@]+"${goflags[@]}"} -ldflags "${goldflags}" "${binary%/*}"
    )
  done
}

# Compiles the targets given as arguments, or all, for KUBE_BUILD_PLATFORMS, or
# for this machine. Arguments that start with a dash are flags of go.
kube::golang::build_binaries() {
  # A subshell, so that what is exported stays in here.
  (
    kube::golang::setup_env
    echo "Go version: $(go version)"

    local host_platform goflags goldflags
    host_platform=$(kube::golang::host_platform)
    # Through eval, so that a flag may hold quoted blanks.
    eval "goflags=(${KUBE_GOFLAGS:-})"
    goldflags="${KUBE_GOLDFLAGS:-} $(kube::version::ldflags)"

    local -a targets=()
    local arg
    for arg; do
      if [[ "${arg}" == -* ]]; then
        goflags+=("${arg}")
      else
        targets+=("${arg}")
      fi
    done
    if [[ "${#targets[@]}" -eq 0 ]]; then
      targets=("${KUBE_ALL_TARGETS[@]}")
    fi

    local binaries platform
    binaries=($(kube::golang::binaries_from_targets "${targets[@]}"))
    for platform in ${KUBE_BUILD_PLATFORMS:-${host_platform}}; do
      kube::log::status "Building go targets for ${platform}:" "${targets[@]}"
      export GOOS="${platform%/*}" GOARCH="${platform##*/}"
      kube::golang::build_binaries_for_platform
    done
  )
}

# Copies what go has installed to KUBE_OUTPUT_BINPATH, a directory for each
# platform. What is there already, as large and as old, is left alone.
kube::golang::place_bins() {
  kube::log::status "Placing binaries"

  local host_platform platform gopath from to file
  host_platform=$(kube::golang::host_platform)
  for platform in "${KUBE_CLIENT_PLATFORMS[@]}"; do
    for gopath in "${KUBE_GOPATH}" "${KUBE_ROOT}/Godeps/_workspace"; do
      from="${gopath}/bin"
      if [[ "${platform}" != "${host_platform}" ]]; then
        from+="/${platform//\//_}"
      fi
      [[ -d "${from}" ]] || continue
      to="${KUBE_OUTPUT_BINPATH}/${platform}"
      mkdir -p "${to}"
      for file in "${from}"/*; do
        if [[ -f "${file}" ]] && kube::golang::differs "${file}" "${to}/${file##*/}"; then
          cp -p --remove-destination "${file}" "${to}/"
        fi
      done
    done
  done
}

# Tells whether two files differ in size or time, or the second is missing.
kube::golang::differs() {
  [[ ! -e "$2" || "$1" -nt "$2" || "$1" -ot "$2" ]] ||
    [[ "$(stat -c %s "$1")" != "$(stat -c %s "$2")" ]]
}

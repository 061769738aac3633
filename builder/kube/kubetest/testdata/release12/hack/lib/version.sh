#!/bin/bash

# The version of the tree, in five variables:
#
#   KUBE_GIT_COMMIT      the commit
#   KUBE_GIT_TREE_STATE  clean or dirty
#   KUBE_GIT_VERSION     from the nearest tag, as a semantic version
#   KUBE_GIT_MAJOR       its first number
#   KUBE_GIT_MINOR       its second number, with a plus sign after a suffix

# Sets the five variables: from the file KUBE_GIT_VERSION_FILE names, if any,
# otherwise from git. A variable the caller has set is kept.
kube::version::get_version_vars() {
  if [[ -n "${KUBE_GIT_VERSION_FILE-}" ]]; then
    kube::version::load_version_vars "${KUBE_GIT_VERSION_FILE}"
    return
  fi

  if [[ -z "${KUBE_GIT_COMMIT-}" ]]; then
    KUBE_GIT_COMMIT=$(kube::version::git rev-parse "HEAD^{commit}") || return 0
  fi
  if [[ -z "${KUBE_GIT_TREE_STATE-}" ]]; then
    local changes
    KUBE_GIT_TREE_STATE="dirty"
    if changes=$(kube::version::git status --porcelain) && [[ -z "${changes}" ]]; then
      KUBE_GIT_TREE_STATE="clean"
    fi
  fi
  if [[ -z "${KUBE_GIT_VERSION-}" ]]; then
    KUBE_GIT_VERSION=$(kube::version::git describe --tags --abbrev=14 "${KUBE_GIT_COMMIT}^{commit}") || return 0
  fi

  # v1.2.3-4-g0123456789abcd is four commits after v1.2.3.
  if [[ "${KUBE_GIT_VERSION}" =~ ^(.*)-([0-9]+)-g([0-9a-f]{14})$ ]]; then
    KUBE_GIT_VERSION="${BASH_REMATCH[1]}.${BASH_REMATCH[2]}+${BASH_REMATCH[3]}"
  fi
  if [[ "${KUBE_GIT_TREE_STATE}" == "dirty" ]]; then
    KUBE_GIT_VERSION+="-dirty"
  fi
  if [[ "${KUBE_GIT_VERSION}" =~ ^v([0-9]+)\.([0-9]+)(\.[0-9]+)?(-.*)?$ ]]; then
    KUBE_GIT_MAJOR="${BASH_REMATCH[1]}"
    KUBE_GIT_MINOR="${BASH_REMATCH[2]}${BASH_REMATCH[4]:++}"
  fi
}

# Asks git about this tree, quietly.
kube::version::git() {
  git --work-tree "${KUBE_ROOT}" "$@" 2>/dev/null
}

# Writes the five variables to a file that load_version_vars reads.
kube::version::save_version_vars() {
  local name
  for name in COMMIT TREE_STATE VERSION MAJOR MINOR; do
    name="KUBE_GIT_${name}"
    echo "${name}='${!name-}'"
  done >"$1"
}

# Reads what save_version_vars wrote.
kube::version::load_version_vars() {
  source "$1"
}

# Prints the linker flag that gives a variable of pkg/version its value. The
# linker of Go 1.4 wants two words where later ones want one with "=".
kube::version::ldflag() {
  local go_version
  go_version=($(go version))
  case "${go_version[2]}" in
    go1.[1-4] | go1.[1-4].*) echo "-X ${KUBE_GO_PACKAGE}/pkg/version.$1 $2" ;;
    *) echo "-X ${KUBE_GO_PACKAGE}/pkg/version.$1=$2" ;;
  esac
}

# Prints the linker flags for the whole version.
kube::version::ldflags() {
  kube::version::get_version_vars

  local -a ldflags=()
  if [[ -n "${KUBE_GIT_COMMIT-}" ]]; then
    ldflags+=("$(kube::version::ldflag gitCommit "${KUBE_GIT_COMMIT}")")
    ldflags+=("$(kube::version::ldflag gitTreeState "${KUBE_GIT_TREE_STATE-}")")
  fi
  if [[ -n "${KUBE_GIT_VERSION-}" ]]; then
    ldflags+=("$(kube::version::ldflag gitVersion "${KUBE_GIT_VERSION}")")
  fi
  if [[ -n "${KUBE_GIT_MAJOR-}" && -n "${KUBE_GIT_MINOR-}" ]]; then
    ldflags+=("$(kube::version::ldflag gitMajor "${KUBE_GIT_MAJOR}")")
    ldflags+=("$(kube::version::ldflag gitMinor "${KUBE_GIT_MINOR}")")
  fi
  echo "${ldflags[*]-}"
}

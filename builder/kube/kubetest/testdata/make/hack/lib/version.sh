#!/bin/bash

# The version of the tree, in five variables:
#
#   KUBE_GIT_COMMIT      the commit
#   KUBE_GIT_TREE_STATE  clean or dirty, or archive
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

  # What git archive has put in.
  if [[ '$Format:%%$' == "%" ]]; then
    KUBE_GIT_COMMIT='$Format:%H$'
    KUBE_GIT_TREE_STATE="archive"
    if [[ '$Format:%D$' =~ tag:\ (v[^ ,]+) ]]; then
      KUBE_GIT_VERSION="${BASH_REMATCH[1]}"
    fi
  fi

  local git=(git --work-tree "${KUBE_ROOT}")

  if [[ -n ${KUBE_GIT_COMMIT-} ]] || KUBE_GIT_COMMIT=$("${git[@]}" rev-parse "HEAD^{commit}" 2>/dev/null); then
    if [[ -z "${KUBE_GIT_TREE_STATE-}" ]]; then
      local changes
      KUBE_GIT_TREE_STATE="dirty"
      if changes=$("${git[@]}" status --porcelain 2>/dev/null) && [[ -z "${changes}" ]]; then
        KUBE_GIT_TREE_STATE="clean"
      fi
    fi

    if [[ -n ${KUBE_GIT_VERSION-} ]] || KUBE_GIT_VERSION=$("${git[@]}" describe --tags --match='v*' --abbrev=14 "${KUBE_GIT_COMMIT}^{commit}" 2>/dev/null); then
      local plain="${KUBE_GIT_VERSION}"
      DASHES_IN_VERSION="${plain//[^-]/}"
      if [[ "${DASHES_IN_VERSION}" == "---" && "${plain}" =~ ^(.*)-([0-9]+)-g([0-9a-f]{14})$ ]]; then
        # v1.3.0-alpha.1-4-g0123456789abcd is four commits after v1.3.0-alpha.1.
        KUBE_GIT_VERSION="${BASH_REMATCH[1]}.${BASH_REMATCH[2]}+${BASH_REMATCH[3]}"
      elif [[ "${DASHES_IN_VERSION}" == "--" && "${plain}" =~ ^(.*)-g([0-9a-f]{14})$ ]]; then
        KUBE_GIT_VERSION="${BASH_REMATCH[1]}+${BASH_REMATCH[2]}"
      fi
      if [[ "${KUBE_GIT_TREE_STATE}" == "dirty" ]]; then
        KUBE_GIT_VERSION+="-dirty"
      fi
      if [[ "${KUBE_GIT_VERSION}" =~ ^v([0-9]+)\.([0-9]+)(\.[0-9]+)?([-].*)?([+].*)?$ ]]; then
        KUBE_GIT_MAJOR="${BASH_REMATCH[1]}"
        KUBE_GIT_MINOR="${BASH_REMATCH[2]}${BASH_REMATCH[4]:++}"
      fi
      if ! [[ "${KUBE_GIT_VERSION}" =~ ^v([0-9]+)\.([0-9]+)(\.[0-9]+)?(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$ ]]; then
        echo "!!! ${KUBE_GIT_VERSION} is not a semantic version" >&2
        exit 1
      fi
    fi
  fi
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

# Prints the linker flags for the whole version.
kube::version::ldflags() {
  kube::version::get_version_vars

  local name variable
  local -a ldflags=()
  for name in Commit TreeState Version Major Minor; do
    variable="KUBE_GIT_${name^^}"
    [[ "${name}" != TreeState ]] || variable=KUBE_GIT_TREE_STATE
    if [[ -n "${!variable-}" ]]; then
      ldflags+=("-X ${KUBE_GO_PACKAGE}/pkg/version.git${name}=${!variable}")
    fi
  done
  echo "${ldflags[*]-}"
}

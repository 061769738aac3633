#!/bin/bash

# The version of the tree, in the shape of 1.2: what the tests compare with.

kube::version::get_version_vars() {
  if [[ -n ${KUBE_GIT_VERSION_FILE-} ]]; then
    source "${KUBE_GIT_VERSION_FILE}"
    return
  fi
  ask() { git --work-tree "${KUBE_ROOT}" "$@" 2>/dev/null; }
  local changes
  if [[ -n ${KUBE_GIT_COMMIT-} ]] || KUBE_GIT_COMMIT=$(ask rev-parse "HEAD^{commit}"); then
    if [[ -z ${KUBE_GIT_TREE_STATE-} ]]; then
      KUBE_GIT_TREE_STATE=dirty
      if changes=$(ask status --porcelain) && [[ -z ${changes} ]]; then
        KUBE_GIT_TREE_STATE=clean
      fi
    fi
    if [[ -n ${KUBE_GIT_VERSION-} ]] || KUBE_GIT_VERSION=$(ask describe --tags --abbrev=14 "${KUBE_GIT_COMMIT}^{commit}"); then
      KUBE_GIT_VERSION=$(echo "${KUBE_GIT_VERSION}" | sed "s/-\([0-9]\{1,\}\)-g\([0-9a-f]\{14\}\)$/.\1\+\2/")
      if [[ "${KUBE_GIT_TREE_STATE}" == "dirty" ]]; then
        KUBE_GIT_VERSION+="-dirty"
      fi
      if [[ "${KUBE_GIT_VERSION}" =~ ^v([0-9]+)\.([0-9]+)(\.[0-9]+)?([-].*)?$ ]]; then
        KUBE_GIT_MAJOR=${BASH_REMATCH[1]}
        KUBE_GIT_MINOR=${BASH_REMATCH[2]}
        if [[ -n "${BASH_REMATCH[4]}" ]]; then
          KUBE_GIT_MINOR+="+"
        fi
      fi
    fi
  fi
}

kube::version::save_version_vars() {
  for name in COMMIT TREE_STATE VERSION MAJOR MINOR; do
    name=KUBE_GIT_${name}
    echo "${name}='${!name-}'"
  done >"$1"
}

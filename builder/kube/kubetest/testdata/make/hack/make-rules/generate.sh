#!/bin/bash

# Writes a Go file that lists the types of another one.

set -o errexit
set -o nounset
set -o pipefail

{
  echo "// Generated from $1."
  echo
  echo "package api"
  echo
  echo "// Kinds are the names of the types."
  echo "var Kinds = []string{"
  while read -r word name rest; do
    if [[ "${word}" == "type" ]]; then
      echo "	\"${name}\","
    fi
  done <"$1"
  echo "}"
} >"$2"
echo "+++ Generated $2"

#!/bin/bash

# Takes and gives files of the tree, until it is stopped.

set -o errexit

cat <<CONF >/tmp/rsyncd.conf
port = 8730
[k8s]
  path = ${HOME}
  auth users = k8s
  secrets file = /rsyncd.password
  read only = false
CONF
exec rsync --no-detach --daemon --config=/tmp/rsyncd.conf

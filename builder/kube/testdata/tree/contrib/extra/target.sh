kube::contrib::extra::server_targets() {
  local -r targets=(
    contrib/extra/cmd/more
  )
  echo "${targets[@]}"
}

kube::contrib::extra::test_targets() {
  true
}

kube::contrib::extra::source_targets() {
  local -r targets=(
    contrib/extra
  )
  echo "${targets[@]}"
}

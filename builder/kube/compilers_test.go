package kube

import (
	"slices"
	"testing"
)

// TestCompilers holds which C compilers a compile for other platforms takes,
// written as the scripts of 2016 and of 2021 do.
func TestCompilers(t *testing.T) {
	const static = "readonly KUBE_STATIC_LIBRARIES=(\n  kubectl\n  cmd/kube-proxy\n)\n"
	const conditions = static + `kube::golang::set_platform_envs() {
    # "linux/ppc64le" is not among them
    if [[ ${platform} == "linux/arm" ]]; then
      export CGO_ENABLED=1
      export CC=arm-linux-gnueabi-gcc
    elif [[ ${platform} == "linux/arm64" ]]; then
      export CC=aarch64-linux-gnu-gcc
    fi
}
`
	const cases = static + `kube::golang::set_platform_envs() {
    case "${platform}" in
      "linux/amd64")
        export CC=${KUBE_LINUX_AMD64_CC:-x86_64-linux-gnu-gcc}
        ;;
      "linux/arm")
        export CC=${KUBE_LINUX_ARM_CC:-arm-linux-gnueabi-gcc}
        ;;
      "linux/386")
        ;;
      "linux/arm64")
        export CC=${KUBE_LINUX_ARM64_CC:-aarch64-linux-gnu-gcc}
        ;;
    esac
}
`
	amd64 := Platform{"linux", "amd64"}
	for name, script := range map[string]string{"2016": conditions, "2021": cases} {
		root := smallTree(t, nil)
		tree := openTree(t, root)
		writeFiles(t, root, map[string]string{golangFile: script})
		for _, test := range []struct {
			platforms []Platform
			programs  []string
			want      []string
		}{
			{[]Platform{{"linux", "arm64"}}, []string{"kubelet"}, []string{"aarch64-linux-gnu-gcc"}},
			{[]Platform{{"linux", "arm"}, {"linux", "arm64"}}, nil, []string{"arm-linux-gnueabi-gcc", "aarch64-linux-gnu-gcc"}},
			{[]Platform{{"linux", "arm64"}}, []string{"kubectl", "kube-proxy"}, nil},
			{[]Platform{{"linux", "arm64"}}, []string{"kubectl", "kubelet"}, []string{"aarch64-linux-gnu-gcc"}},
			{[]Platform{amd64, {"windows", "amd64"}, {"linux", "386"}, {"linux", "ppc64le"}}, []string{"kubelet"}, nil},
			{nil, []string{"kubelet"}, nil},
		} {
			if got, err := tree.Compilers(test.platforms, amd64, test.programs); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%s: %v for %v: %q, %v, want %q", name, test.programs, test.platforms, got, err, test.want)
			}
		}
	}
}

func TestGivenPlatforms(t *testing.T) {
	root := smallTree(t, nil)
	got, err := openTree(t, root, "KUBE_BUILD_PLATFORMS=linux/arm64 windows/amd64").GivenPlatforms()
	if want := []Platform{{"linux", "arm64"}, {"windows", "amd64"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if _, err := openTree(t, root, "KUBE_BUILD_PLATFORMS=arm64").GivenPlatforms(); !isA[*PlatformError](err) {
		t.Errorf("arm64 is no platform: %v", err)
	}
	if got, err := openTree(t, root).GivenPlatforms(); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

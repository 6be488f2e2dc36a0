// SPDX-License-Identifier: Apache-2.0

package main

import "fmt"

// target is an architecture. Its name is that of the CNI project's archives. Distributions have names of their own, which
// are empty where one doesn't build for it.
type target struct {
	name           string
	goarch, goarm  string
	deb, rpm, apk  string
	image, variant string // by the OCI's image specification
}

var targets = []target{
	{name: "amd64", goarch: "amd64", deb: "amd64", rpm: "x86_64", apk: "x86_64", image: "amd64"},
	{name: "arm64", goarch: "arm64", deb: "arm64", rpm: "aarch64", apk: "aarch64", image: "arm64", variant: "v8"},
	{name: "arm", goarch: "arm", goarm: "7", deb: "armhf", rpm: "armv7hl", apk: "armv7", image: "arm", variant: "v7"},
	{name: "riscv64", goarch: "riscv64", deb: "riscv64", rpm: "riscv64", apk: "riscv64", image: "riscv64"},
	{name: "ppc64le", goarch: "ppc64le", deb: "ppc64el", rpm: "ppc64le", apk: "ppc64le", image: "ppc64le"},
	{name: "s390x", goarch: "s390x", deb: "s390x", rpm: "s390x", apk: "s390x", image: "s390x"},
	{name: "loong64", goarch: "loong64", deb: "loong64", rpm: "loongarch64", apk: "loongarch64", image: "loong64"},
	{name: "mips64le", goarch: "mips64le", deb: "mips64el", rpm: "mips64el", image: "mips64le"},
}

func findTarget(name string) (target, error) {
	for _, t := range targets {
		if t.name == name {
			return t, nil
		}
	}
	return target{}, fmt.Errorf("no architecture %q", name)
}

// env makes the Makefile build for the target, and nothing of the caller's change what is built. An empty value wouldn't do:
// then Go takes the one of `go env -w`.
func (t target) env() []string {
	return []string{"GOOS=linux", "GOARCH=" + t.goarch, "GOARM=7", "GOAMD64=v1", "GOARM64=v8.0", "GORISCV64=rva20u64", "GOPPC64=power8",
		"GOMIPS64=hardfloat", "GOFLAGS=-mod=readonly", "GOWORK=off", "GODEBUG=", "MAKEFLAGS=", "MAKEOVERRIDES="}
}

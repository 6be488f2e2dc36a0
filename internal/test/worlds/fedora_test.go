// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A fedora is a file tree in which dnf installs packages, from a repository and from files.
type fedora struct {
	t   *testing.T
	dir string // has the tree, the repository, other packages, and a home
}

// Stand-ins for Fedora's packages. The CNI project's plugins have an epoch there, and dependents of both kinds.
const (
	shellSpec     = "Name: bash\nVersion: 5.2\nProvides: /bin/sh\n"
	podmanSpec    = "Name: podman\nEpoch: 5\nVersion: 5.0\nRequires: container-network-stack\n"
	crioSpec      = "Name: cri-o\nVersion: 1.30\nRequires: containernetworking-plugins >= 1:1.0.0\n"
	referenceSpec = "Name: containernetworking-plugins\nEpoch: 1\nVersion: %s\nProvides: container-network-stack = 1\nProvides: kubernetes-cni\n"
)

func newFedora(t *testing.T) *fedora {
	t.Helper()
	f := &fedora{t, t.TempDir()}
	f.sh(`mkdir -p root/bin root/dev root/run home repository packages
cd root && mkdir -p usr/bin usr/libexec usr/lib/systemd/system usr/share/doc usr/share/licenses usr/share/man/man5 usr/share/man/man8 && cd ..
cp /bin/busybox root/bin/ && ln -s busybox root/bin/sh && ln -s busybox root/bin/rm
: >root/dev/null
echo "%_dbpath /var/lib/rpm" >home/.rpmmacros # as on Fedora; Debian's rpm has it in the home
printf '[main]\ngpgcheck=0\n' >dnf.conf
mkdir repos && printf '[here]\nname=here\nbaseurl=file:///run/it/repository\n' >repos/here.repo`)
	f.offer(shellSpec)
	f.offer(podmanSpec, "/usr/bin/podman")
	f.offer(crioSpec, "/usr/bin/crio")
	f.offer(fmt.Sprintf(referenceSpec, "1.7.1"), "/usr/libexec/cni/bridge", "/usr/libexec/cni/samplelike")
	return f
}

// readOnly is how a command sees the machine: nothing of it can be written but what's the test's own, which is in /run/it.
const readOnly = `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run && mkdir /run/it && mount --bind "$0" /run/it
mount -t tmpfs tmpfs /tmp && mount -t tmpfs tmpfs /var/tmp
mount -o remount,bind,ro /
cd /run/it
export HOME=/run/it/home
exec "$@"`

// try runs a command, without a network.
func (f *fedora) try(command ...string) (string, error) {
	out, err := exec.Command("unshare", append([]string{"--mount", "--net", "sh", "-c", readOnly, f.dir}, command...)...).CombinedOutput()
	return string(out), err
}

func (f *fedora) do(command ...string) string {
	f.t.Helper()
	out, err := f.try(command...)
	if err != nil {
		f.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

func (f *fedora) sh(script string, args ...string) string {
	f.t.Helper()
	return f.do(append([]string{"sh", "-ec", script, "sh"}, args...)...)
}

// offer puts a package with files into the repository.
func (f *fedora) offer(spec string, files ...string) {
	f.t.Helper()
	spec += "Release: 1\nSummary: another\nLicense: Apache-2.0\nBuildArch: noarch\nAutoReqProv: no\n%description\n%install\n"
	list := "%files\n"
	for _, file := range files {
		spec += fmt.Sprintf("mkdir -p %%{buildroot}%s && echo another >%%{buildroot}%s\n", filepath.Dir(file), file)
		list += file + "\n"
		if filepath.Base(filepath.Dir(file)) == "cni" && !strings.Contains(list, "%dir") {
			list += "%dir " + filepath.Dir(file) + "\n"
		}
	}
	if err := os.WriteFile(filepath.Join(f.dir, "spec"), []byte(spec+list), 0o644); err != nil {
		f.t.Fatal(err)
	}
	f.sh(`rpmbuild -bb --define "_topdir /run/it/build" --define "_dbpath /run/it/build/db" --define "_rpmdir /run/it/repository" spec && createrepo_c --quiet repository`)
}

// rpm returns the path of a release's package, as dnf sees it.
func (f *fedora) rpm(version string) string {
	f.t.Helper()
	found, err := filepath.Glob(filepath.Join(released(f.t, version), "*.rpm"))
	if err != nil || len(found) != 1 {
		f.t.Fatalf("packages %q, %v", found, err)
	}
	name := version + ".rpm"
	if out, err := exec.Command("cp", found[0], filepath.Join(f.dir, "packages", name)).CombinedOutput(); err != nil {
		f.t.Fatalf("%v\n%s", err, out)
	}
	return "/run/it/packages/" + name
}

func (f *fedora) tryDNF(args ...string) (string, error) {
	return f.try(append([]string{"dnf", "--config=/run/it/dnf.conf", "--installroot=/run/it/root", "--setopt=reposdir=/run/it/repos", "--setopt=pluginpath=/run/it/none",
		"--releasever=1", "--refresh", "--assumeyes"}, args...)...)
}

func (f *fedora) dnf(args ...string) string {
	f.t.Helper()
	out, err := f.tryDNF(args...)
	if err != nil {
		f.t.Fatalf("dnf %s: %v\n%s", args, err, out)
	}
	return out
}

// wantPackages compares what's installed, beside the shell.
func (f *fedora) wantPackages(when string, names ...string) {
	f.t.Helper()
	list := f.do("rpm", "--root=/run/it/root", "--force-debian", "--query", "--all", "--queryformat", "%{name} %{version}\n")
	got := slices.DeleteFunc(strings.Split(strings.TrimSpace(list), "\n"), func(line string) bool { return strings.HasPrefix(line, "bash ") })
	slices.Sort(got)
	if !slices.Equal(got, names) {
		f.t.Errorf("%s there are %q, want %q", when, got, names)
	}
}

// files lists those of the tree, and its directories, but for what rpm and dnf keep.
func (f *fedora) files() []string {
	f.t.Helper()
	return strings.Fields(f.sh(`cd root && find . -path ./var -prune -o -print | sort`))
}

// TestFedoraPackage has dnf take the package through its life, in place of the one with the CNI project's plugins and back.
func TestFedoraPackage(t *testing.T) {
	f := newFedora(t)
	ours := strings.NewReplacer("v", "swiftcni ", "-", "~")
	first, second := ours.Replace(candidate), ours.Replace(nextCandidate)
	f.dnf("install", "bash")
	before := f.files()
	f.dnf("install", "podman", "cri-o")
	f.wantPackages("before", "containernetworking-plugins 1.7.1", "cri-o 1.30", "podman 5.0")

	f.dnf("install", f.rpm(candidate))
	f.wantPackages("after the installation", "cri-o 1.30", "podman 5.0", first)
	f.wantVersion(candidate)
	if said := f.do("rpm", "--root=/run/it/root", "--force-debian", "--verify", "swiftcni"); said != "" {
		t.Errorf("verify says %s", said)
	}
	f.offer(fmt.Sprintf(referenceSpec, "1.99.0"), "/usr/libexec/cni/bridge", "/usr/libexec/cni/samplelike")
	f.dnf("upgrade")
	f.wantPackages("with later plugins of Fedora's", "cri-o 1.30", "podman 5.0", first)

	f.sh("mkdir root/run/swiftcni && : >root/run/swiftcni/socket")
	f.dnf("upgrade", f.rpm(nextCandidate))
	f.wantPackages("after the upgrade", "cri-o 1.30", "podman 5.0", second)
	f.wantVersion(nextCandidate)
	f.dnf("downgrade", f.rpm(candidate))
	f.wantPackages("after the downgrade", "cri-o 1.30", "podman 5.0", first)
	f.wantVersion(candidate)
	f.sh("test -e root/run/swiftcni/socket")

	if out, err := f.tryDNF("--assumeno", "remove", "swiftcni"); err == nil || !strings.Contains(out, "podman") || !strings.Contains(out, "cri-o") {
		t.Errorf("the removal, %v, doesn't tell that podman and cri-o need plugins:\n%s", err, out)
	}
	f.dnf("swap", "swiftcni", "containernetworking-plugins")
	f.wantPackages("on the way back", "containernetworking-plugins 1.99.0", "cri-o 1.30", "podman 5.0")
	f.sh("test ! -e root/run/swiftcni && test -e root/usr/libexec/cni/samplelike && grep -q another root/usr/libexec/cni/bridge")

	// From a repository it comes with the next upgrade, and would come again in the place of whom it obsoletes.
	f.sh(`cp "$1" repository/ && createrepo_c --quiet repository`, f.rpm(candidate))
	f.dnf("upgrade")
	f.wantPackages("with swiftcni in the repository", "cri-o 1.30", "podman 5.0", first)
	f.dnf("swap", "--setopt=obsoletes=0", "swiftcni", "containernetworking-plugins")
	f.wantPackages("on the way back from there", "containernetworking-plugins 1.99.0", "cri-o 1.30", "podman 5.0")

	f.dnf("remove", "podman", "cri-o", "containernetworking-plugins")
	f.dnf("install", f.rpm(candidate))
	f.dnf("remove", "swiftcni")
	f.wantPackages("at the end")
	for _, file := range f.files() {
		if !slices.Contains(before, file) {
			t.Errorf("%s is left", file)
		}
	}
}

// wantVersion asks the programs of the package.
func (f *fedora) wantVersion(version string) {
	f.t.Helper()
	if said := f.do("root/usr/bin/swiftctl", "version"); !strings.HasPrefix(said, "swiftctl "+version+"\n") {
		f.t.Errorf("swiftctl version: %s, want %s", said, version)
	}
	f.do("env", "CNI_COMMAND=VERSION", "root/usr/libexec/cni/bridge")
}

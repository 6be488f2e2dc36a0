// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni"
)

// newMachine makes a root directory with some files.
func newMachine(t *testing.T, files map[string]string) machine {
	t.Helper()
	m := machine{t.TempDir()}
	for path, text := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(m.path(path)), 0o755), os.WriteFile(m.path(path), []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// Each runtime's list is the one that its configuration sets, in any form that the runtime reads.
func TestSeekers(t *testing.T) {
	const (
		bin     = "/usr/bin/"
		podman  = "podman /usr/local/libexec/cni /usr/libexec/cni /usr/local/lib/cni /usr/lib/cni /opt/cni/bin"
		nerdctl = "nerdctl /opt/cni/bin /usr/local/libexec/cni /usr/local/lib/cni /home/linuxbrew/.linuxbrew/opt/cni-plugins/bin /usr/libexec/cni /usr/lib/cni"
	)
	type files = map[string]string
	for name, c := range map[string]struct {
		files files
		want  string
	}{
		"nothing":                        {files{"/etc/os-release": ""}, ""},
		"podman":                         {files{bin + "podman": ""}, podman},
		"a list that isn't podman's":     {files{"/etc/containers/containers.conf": "[network]\ncni_plugin_dirs = [\"/a\"]"}, ""},
		"podman, by the last file":       {files{bin + "podman": "", "/usr/share/containers/containers.conf": "[network]\ncni_plugin_dirs = [\"/a\", # \"/b\"\n\"/c\"]", "/etc/containers/containers.conf.d/9.conf": "[network]\ncni_plugin_dirs = [\"/d\"]"}, "podman /d (cni_plugin_dirs /etc/containers/containers.conf.d/9.conf)"},
		"podman, one more":               {files{bin + "podman": "", "/etc/containers/containers.conf": "[network]\ncni_plugin_dirs = [\"/a\", {append=true}]"}, podman + " /a (cni_plugin_dirs /etc/containers/containers.conf)"},
		"podman, by a file that's wrong": {files{bin + "podman": "", "/etc/containers/containers.conf": "[network\n"}, podman},
		"podman, in other spellings":     {files{bin + "podman": "", "/etc/containers/containers.conf": "[network]\ncni_plugin_dirs = [\"/a/\", \"\", \"b\", \"/c/../d\"]"}, "podman /a /d (cni_plugin_dirs /etc/containers/containers.conf)"},
		"podman, by nothing absolute":    {files{bin + "podman": "", "/etc/containers/containers.conf": "[network]\ncni_plugin_dirs = [\"\", \"b\"]"}, podman},
		"containerd":                     {files{"/usr/local/bin/containerd": ""}, "containerd /opt/cni/bin"},
		"containerd, version 1":          {files{"/etc/containerd/config.toml": "[plugins.cri.cni]\nbin_dir = \"/a\""}, "containerd /a (bin_dir /etc/containerd/config.toml)"},
		"containerd, version 2":          {files{"/etc/containerd/config.toml": "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\n  bin_dir = \"/a\""}, "containerd /a (bin_dir /etc/containerd/config.toml)"},
		"containerd, version 3": {files{"/etc/containerd/config.toml": "version = 3\n[plugins]\n[plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dir = ''\nbin_dirs = ['/a', '/b']\n" +
			"[plugins.'io.containerd.image-verifier.v1.bindir']\nbin_dir = '/opt/containerd/image-verifier/bin'"}, "containerd /a /b (bin_dirs /etc/containerd/config.toml)"},
		"containerd, by an imported file": {files{"/etc/containerd/config.toml": "imports = [\"/etc/containerd/config.toml\", \"conf.d/*.toml\"]", "/etc/containerd/conf.d/a.toml": "[plugins.cri.cni]\nbin_dir = \"/a\""}, "containerd /a (bin_dir /etc/containerd/conf.d/a.toml)"},
		"containerd, without a main file": {files{bin + "containerd": "", "/etc/containerd/conf.d/a.toml": "[plugins.cri.cni]\nbin_dir = \"/a\""}, "containerd /a (bin_dir /etc/containerd/conf.d/a.toml)"},
		"containerd of Docker":            {files{"/etc/containerd/config.toml": "disabled_plugins = [\"cri\"]"}, ""},
		"k0s":                             {files{"/etc/k0s/containerd.toml": ""}, "k0s /opt/cni/bin"},
		"k3s":                             {files{"/var/lib/rancher/k3s/agent/etc/containerd/config.toml": "[plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dir = \"/var/lib/rancher/k3s/data/cni\""}, "k3s /var/lib/rancher/k3s/data/cni (bin_dir /var/lib/rancher/k3s/agent/etc/containerd/config.toml)"},
		"RKE2":                            {files{"/var/lib/rancher/rke2/agent/etc/containerd/config.toml": "version = 2"}, "RKE2 /opt/cni/bin"},
		"MicroK8s":                        {files{"/var/snap/microk8s/current/args/containerd.toml": "[plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"/var/snap/microk8s/1/opt/cni/bin\""}, "MicroK8s /var/snap/microk8s/1/opt/cni/bin (bin_dir /var/snap/microk8s/current/args/containerd.toml)"},
		"CRI-O":                           {files{"/etc/crio/crio.conf": "[crio.network]\n# plugin_dirs = [\n#\t\"/x\",\n# ]"}, "CRI-O /opt/cni/bin"},
		"CRI-O, by the last file":         {files{"/etc/crio/crio.conf": "[crio.network]\nplugin_dirs = [\"/a\"]", "/etc/crio/crio.conf.d/10-b.conf": "[crio.network]\nplugin_dirs = [\n\"/b\",\n\"/c\",\n]\nplugin_dir = \"/d\""}, "CRI-O /b /c /d (plugin_dirs /etc/crio/crio.conf.d/10-b.conf)"},
		"cri-dockerd":                     {files{bin + "cri-dockerd": "", "/usr/lib/systemd/system/cri-docker.service": "[Service]\nExecStart=/usr/bin/cri-dockerd --container-runtime-endpoint fd://"}, "cri-dockerd /opt/cni/bin"},
		"cri-dockerd, by a drop-in":       {files{bin + "cri-dockerd": "", "/etc/systemd/system/cri-docker.service.d/a.conf": "[Service]\nExecStart=\nExecStart=/usr/bin/cri-dockerd --cni-bin-dir=/a,/b --pod-infra x"}, "cri-dockerd /a /b (--cni-bin-dir /etc/systemd/system/cri-docker.service.d/a.conf)"},
		"Nomad":                           {files{bin + "nomad": ""}, "Nomad /opt/cni/bin /usr/libexec/cni"},
		"Nomad, by HCL":                   {files{bin + "nomad": "", "/etc/nomad.d/nomad.hcl": "client {\n  enabled = true\n  # cni_path = \"/x\"\n  cni_path = \"/a:/b\"\n}"}, "Nomad /a /b (cni_path /etc/nomad.d/nomad.hcl)"},
		"Nomad, in other spellings":       {files{bin + "nomad": "", "/etc/nomad.d/nomad.hcl": "cni_path = \"/a/::b:/c\""}, "Nomad /a /c (cni_path /etc/nomad.d/nomad.hcl)"},
		"Nomad, by nothing absolute":      {files{bin + "nomad": "", "/etc/nomad.d/nomad.hcl": "cni_path = \":b\""}, "Nomad /opt/cni/bin /usr/libexec/cni"},
		"Nomad, by JSON":                  {files{bin + "nomad": "", "/etc/nomad.d/a.json": "{\"client\": {\n\"cni_path\": \"/a\"}}"}, "Nomad /a (cni_path /etc/nomad.d/a.json)"},
		"nerdctl":                         {files{bin + "nerdctl": ""}, nerdctl},
		"nerdctl, by its file":            {files{bin + "nerdctl": "", "/etc/nerdctl/nerdctl.toml": "cni_path = \"/a\""}, "nerdctl /a (cni_path /etc/nerdctl/nerdctl.toml)"},
		"BuildKit, without CNI":           {files{bin + "buildkitd": "", "/etc/buildkit/buildkitd.toml": "[worker.oci]\nenabled = true"}, ""},
		"BuildKit":                        {files{bin + "buildkitd": "", "/etc/buildkit/buildkitd.toml": "[worker.oci]\nnetworkMode = \"cni\""}, "BuildKit /opt/cni/bin"},
		"BuildKit, by its file":           {files{bin + "buildkitd": "", "/etc/buildkit/buildkitd.toml": "[worker.containerd]\ncniBinaryPath = \"/a\""}, "BuildKit /a (cniBinaryPath /etc/buildkit/buildkitd.toml)"},
	} {
		var got []string
		for _, s := range newMachine(t, c.files).seekers() {
			text := s.name + " " + strings.Join(s.dirs, " ")
			if s.file != "" {
				text += " (" + s.key + " " + s.file + ")"
			}
			got = append(got, text)
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A runtime is told of where it finds others' plugins first, or doesn't look for ours at all, with
// what helps.
func TestUnreached(t *testing.T) {
	for _, c := range []struct{ list, want string }{
		{`"/mine", "/theirs"`, ""},
		{`"/theirs", "/mine"`, "podman finds other bridge in /theirs: name /mine first in cni_plugin_dirs of /etc/containers/containers.conf, or swiftctl install --force /theirs"},
		{`"/none"`, "podman looks only in /none: name /mine first in cni_plugin_dirs of /etc/containers/containers.conf, or swiftctl install --force /none"},
	} {
		m := newMachine(t, map[string]string{"/usr/bin/podman": "", "/theirs/bridge": "#!/bin/sh\n", "/theirs/ovs": "#!/bin/sh\n",
			"/etc/containers/containers.conf": "[network]\ncni_plugin_dirs = [" + c.list + "]\n"})
		l := search{m, m.seekers(), cni.PluginNames(), ownBinary(t)}
		if got := strings.Join(l.unreached([]string{"/mine"}), "\n"); got != c.want {
			t.Errorf("cni_plugin_dirs = [%s]: %q, want %q", c.list, got, c.want)
		}
	}
}

// Without DIR plugins go where each runtime of the host finds them before others, and to no more
// directories than that takes.
func TestInstallDirs(t *testing.T) {
	const (
		podman     = "/usr/bin/podman"
		containerd = "/etc/containerd/config.toml"
		k3s        = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"
		nerdctl    = "/usr/bin/nerdctl"
		own        = "/usr/local/libexec/cni"
		k3sDir     = "/var/lib/rancher/k3s/data/cni"
		k3sText    = "[plugins.\"io.containerd.cri.v1.runtime\".cni]\nbin_dir = \"" + k3sDir + "\""
	)
	type files = map[string]string
	for name, c := range map[string]struct {
		files files
		want  []string // a last "--force" asks for it
	}{
		"no runtime":                          {files{"/usr/lib/cni/bridge": ""}, []string{defaultPluginDir}},
		"podman, with nothing in the way":     {files{podman: ""}, []string{defaultPluginDir}},
		"podman, with others' of a package":   {files{podman: "", "/usr/lib/cni/bridge": ""}, []string{defaultPluginDir, own}},
		"podman, with others' where ours go":  {files{podman: "", "/opt/cni/bin/bridge": ""}, []string{defaultPluginDir}},
		"podman, with others' by other names": {files{podman: "", "/usr/lib/cni/ovs": ""}, []string{defaultPluginDir}},
		"k3s alone":                           {files{k3s: k3sText}, []string{k3sDir}},
		"k3s and containerd":                  {files{k3s: k3sText, containerd: ""}, []string{defaultPluginDir, k3sDir}},
		"nerdctl, with a package's directory": {files{nerdctl: "", "/usr/lib/cni/bridge": ""}, []string{defaultPluginDir}},
		"k3s alone, with its plugins":         {files{k3s: k3sText, k3sDir + "/bridge": ""}, []string{k3sDir}},
		"k3s beside podman, with its plugins": {files{podman: "", k3s: k3sText, k3sDir + "/bridge": ""}, []string{defaultPluginDir}},
		"containerd, with a slash":            {files{containerd: "[plugins.cri.cni]\nbin_dir = \"/opt/cni/bin/\""}, []string{defaultPluginDir}},
		"the same by force":                   {files{podman: "", k3s: k3sText, k3sDir + "/bridge": ""}, []string{defaultPluginDir, k3sDir, "--force"}},
	} {
		m := newMachine(t, c.files)
		l := search{m, m.seekers(), cni.PluginNames(), ownBinary(t)}
		want, force := c.want, slices.Contains(c.want, "--force")
		if force {
			want = want[:len(want)-1]
		}
		if got := l.dirs(force); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// An upgrade goes to the directories that have ours already, but not to a package's.
func TestInstallDirsOfAnUpgrade(t *testing.T) {
	m := newMachine(t, map[string]string{"/usr/bin/podman": "", "/usr/libexec/cni/x": ""})
	in := installer{dir: m.path("/usr/libexec/cni"), binary: ownBinary(t), names: cni.PluginNames(), out: new(strings.Builder)}
	if err := in.run(); err != nil {
		t.Fatal(err)
	}
	l := search{m, m.seekers(), in.names, in.binary}
	if got, want := l.dirs(false), []string{defaultPluginDir, "/usr/libexec/cni"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	l.binary = in.path(binaryName)
	if got, want := l.dirs(false), []string{defaultPluginDir}; !slices.Equal(got, want) {
		t.Errorf("of a package: %q, want %q", got, want)
	}
}

// Where a runtime looks only in a package's directory there's nothing to install, and nothing to advise.
func TestInstallBesideAPackage(t *testing.T) {
	m := newMachine(t, map[string]string{"/usr/libexec/cni/x": "", "/etc/containerd/config.toml": "[plugins.cri.cni]\nbin_dir = \"/usr/libexec/cni\""})
	var out, advice strings.Builder
	in := installation{installer: installer{dir: m.path("/usr/libexec/cni"), binary: ownBinary(t), names: cni.PluginNames(), out: &out}, machine: m, seekers: m.seekers()}
	if err := in.run(); err != nil {
		t.Fatal(err)
	}
	in.binary = in.path(binaryName)
	out.Reset()
	if err := in.put(&advice, nil, ""); err != nil || advice.Len() > 0 {
		t.Errorf("%v, with the advice %q", err, &advice)
	}
	if got, want := out.String(), "nothing to install: every runtime of this host finds the package's plugins\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The plugins of an archive that was unpacked where they are to be aren't a package's.
func TestUninstallOfAnArchive(t *testing.T) {
	m := newMachine(t, map[string]string{"/usr/bin/podman": "", defaultPluginDir + "/x": ""})
	in := installer{dir: m.path(defaultPluginDir), binary: ownBinary(t), names: cni.PluginNames(), out: new(strings.Builder)}
	if err := in.run(); err != nil {
		t.Fatal(err)
	}
	l := search{m, m.seekers(), in.names, in.path(binaryName)}
	if got, want := l.installed(), []string{defaultPluginDir}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

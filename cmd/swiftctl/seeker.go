// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// defaultPluginDir is where the specification's examples, containerd, CRI-O and Kubernetes look
// for plugins.
const defaultPluginDir = "/opt/cni/bin"

// A seeker is a runtime of this host. It looks for each plugin in a list of directories, and uses
// the first that it finds.
type seeker struct {
	name string
	dirs []string
	file string // the configuration that sets the list; "" if the list is the runtime's own
	key  string // its name there
	// single means that only the first directory that exists counts.
	single bool
}

// machine is a root directory, "" for this host's own. Its paths are those that its programs know.
type machine struct{ root string }

func (m machine) path(p string) string { return filepath.Join(m.root, p) }

func (m machine) exists(p string) bool {
	_, err := os.Stat(m.path(p))
	return err == nil
}

// has reports whether a program is installed.
func (m machine) has(program string) bool {
	if m.root == "" {
		_, err := exec.LookPath(program)
		return err == nil
	}
	return slices.ContainsFunc([]string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"},
		func(dir string) bool { return m.exists(filepath.Join(dir, program)) })
}

// seekers are the runtimes of the host that look for plugins, each with the directories that its
// configuration names. Each list that isn't configured is from the runtime's own source.
func (m machine) seekers() (list []seeker) {
	add := func(s seeker, here bool) {
		if here && len(s.dirs) > 0 {
			list = append(list, s)
		}
	}
	add(m.podman(), m.has("podman"))
	for _, c := range []struct{ name, conf string }{
		{"containerd", "/etc/containerd/config.toml"},
		{"k0s", "/etc/k0s/containerd.toml"},
		{"k3s", "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"},
		{"RKE2", "/var/lib/rancher/rke2/agent/etc/containerd/config.toml"},
		{"MicroK8s", "/var/snap/microk8s/current/args/containerd.toml"},
	} {
		s, speaksCRI := m.containerd(c.name, c.conf)
		add(s, speaksCRI && (m.exists(c.conf) || m.has(c.name)))
	}
	add(m.crio(), m.exists("/etc/crio") || m.has("crio"))
	add(m.dockerd(), m.has("cri-dockerd"))
	add(m.nomad(), m.has("nomad"))
	add(m.nerdctl(), m.has("nerdctl"))
	add(m.buildkit(), m.has("buildkitd"))
	return list
}

// podman reads containers.conf(5).
func (m machine) podman() seeker {
	s := seeker{name: "podman", key: "cni_plugin_dirs",
		dirs: []string{"/usr/local/libexec/cni", "/usr/libexec/cni", "/usr/local/lib/cni", "/usr/lib/cni", defaultPluginDir}}
	for _, f := range m.glob("/usr/share/containers/containers.conf", "/etc/containers/containers.conf", "/etc/containers/containers.conf.d/*.conf") {
		s.set(f, m.toml(f).table("network"), "cni_plugin_dirs")
	}
	return s
}

// containerd reads a configuration of any version, and those that it imports. It reports whether
// containerd serves CRI: else it looks for no plugins.
func (m machine) containerd(name, conf string) (s seeker, speaksCRI bool) {
	s = seeker{name: name, key: "bin_dir", dirs: []string{defaultPluginDir}}
	files, speaksCRI := m.glob(conf), true
	if len(files) == 0 {
		files = m.glob("/etc/containerd/conf.d/*.toml") // the default configuration's imports
	}
	for i := 0; i < len(files); i++ {
		t := m.toml(files[i])
		// The plugin's name depends on the version: cri, io.containerd.grpc.v1.cri,
		// io.containerd.cri.v1.runtime. Others have a bin_dir as well, but no table cni.
		for _, plugin := range t.table("plugins").tables() {
			s.set(files[i], plugin.table("cni"), "bin_dir")
			s.set(files[i], plugin.table("cni"), "bin_dirs")
		}
		for _, p := range t.strings("disabled_plugins") {
			speaksCRI = speaksCRI && p != "cri" && !strings.HasSuffix(p, ".cri") && p != "io.containerd.cri.v1.runtime"
		}
		for _, imported := range t.strings("imports") {
			if !filepath.IsAbs(imported) {
				imported = filepath.Join(filepath.Dir(files[i]), imported)
			}
			for _, f := range m.glob(imported) {
				if !slices.Contains(files, f) {
					files = append(files, f)
				}
			}
		}
	}
	return s, speaksCRI
}

func (m machine) crio() seeker {
	s := seeker{name: "CRI-O", key: "plugin_dirs", dirs: []string{defaultPluginDir}}
	for _, f := range m.glob("/etc/crio/crio.conf", "/etc/crio/crio.conf.d/*") {
		network := m.toml(f).table("crio").table("network")
		s.set(f, network, "plugin_dirs")
		s.dirs = append(s.dirs, absolute(network.strings("plugin_dir"))...) // deprecated; it comes last
	}
	return s
}

var (
	criDockerdFlag = regexp.MustCompile(`(?m)^ExecStart=.*--cni-bin-dir[= ]"?([^\s"]+)`)
	nomadKey       = regexp.MustCompile(`(?m)^\s*"?cni_path"?\s*[=:]\s*"([^"]*)"`)
)

// dockerd reads the units of cri-dockerd, the only thing between dockerd and plugins.
func (m machine) dockerd() seeker {
	s := seeker{name: "cri-dockerd", key: "--cni-bin-dir", dirs: []string{defaultPluginDir}}
	const unit = "cri-docker.service"
	for _, f := range m.glob("/usr/lib/systemd/system/"+unit, "/etc/systemd/system/"+unit, "/etc/systemd/system/"+unit+".d/*.conf") {
		s.match(f, m.text(f), criDockerdFlag, ",")
	}
	return s
}

func (m machine) nomad() seeker {
	s := seeker{name: "Nomad", key: "cni_path", dirs: []string{defaultPluginDir, "/usr/libexec/cni"}}
	for _, f := range m.glob("/etc/nomad.d/*.hcl", "/etc/nomad.d/*.json") {
		s.match(f, m.text(f), nomadKey, ":")
	}
	return s
}

// nerdctl takes one directory: the first that is there.
func (m machine) nerdctl() seeker {
	s := seeker{name: "nerdctl", key: "cni_path", single: true, dirs: []string{defaultPluginDir, "/usr/local/libexec/cni", "/usr/local/lib/cni",
		"/home/linuxbrew/.linuxbrew/opt/cni-plugins/bin", "/usr/libexec/cni", "/usr/lib/cni"}}
	for _, f := range m.glob("/etc/nerdctl/nerdctl.toml") {
		s.set(f, m.toml(f), "cni_path")
	}
	return s
}

// buildkit is there with CNI networks only if the configuration says so, and so it's the
// configuration that counts.
func (m machine) buildkit() seeker {
	s := seeker{name: "BuildKit", key: "cniBinaryPath"}
	for _, f := range m.glob("/etc/buildkit/buildkitd.toml") {
		for _, worker := range m.toml(f).table("worker").tables() {
			if worker["networkMode"] == "cni" || worker["cniConfigPath"] != nil {
				s.dirs = []string{defaultPluginDir}
			}
			s.set(f, worker, "cniBinaryPath")
		}
	}
	return s
}

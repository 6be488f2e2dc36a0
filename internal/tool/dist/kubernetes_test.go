// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/sys/unix"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// daemonSet is what `kubectl kustomize` makes of a directory. A field that Kubernetes doesn't know is an error.
func daemonSet(t *testing.T, dir string) *apps.DaemonSet {
	t.Helper()
	if !strings.Contains(dir, "/") {
		dir = filepath.Join("../../../docs/kubernetes", dir)
	}
	list, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := list.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	var d apps.DaemonSet
	if err := yaml.UnmarshalStrict(text, &d); err != nil || d.Kind != "DaemonSet" || d.Namespace != "kube-system" {
		t.Fatalf("%v\n%s", err, text)
	}
	return &d
}

// TestManifests: each starts on every node before other pods, and none but the resident has more than it needs.
func TestManifests(t *testing.T) {
	for _, dir := range []string{"install", "resident", "uninstall"} {
		d := daemonSet(t, dir)
		pod := d.Spec.Template.Spec
		if pod.PriorityClassName != "system-node-critical" || len(pod.Tolerations) != 1 || pod.Tolerations[0] != (core.Toleration{Operator: core.TolerationOpExists}) {
			t.Errorf("%s: priority %q, tolerations %v", dir, pod.PriorityClassName, pod.Tolerations)
		}
		if !pod.HostNetwork { // a pod that waits for the network's plugins can't install them
			t.Errorf("%s: its network is the plugins'", dir)
		}
		if len(pod.InitContainers) != 1 || len(pod.Containers) != 1 {
			t.Fatalf("%s: %v", dir, pod)
		}
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
				t.Errorf("%s: %s may write to its image", dir, c.Name)
			} else if dropped := s.Capabilities != nil && slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}); dropped == slices.Contains(c.Command, "serve") {
				t.Errorf("%s: %s has no capabilities: %v", dir, c.Name, dropped)
			}
			if c.Image != pod.InitContainers[0].Image { // whoever names another changes one place
				t.Errorf("%s: %s is of the image %s", dir, c.Name, c.Image)
			}
		}
		if selector := d.Spec.Selector.MatchLabels; len(selector) == 0 || d.Spec.Template.Labels["app.kubernetes.io/name"] != selector["app.kubernetes.io/name"] {
			t.Errorf("%s: its pods aren't its own", dir)
		}
	}
	if got := daemonSet(t, "testdata/libexec").Spec.Template.Spec.Volumes[0].HostPath.Path; got != "/usr/libexec/cni" {
		t.Errorf("the component's directory is %s", got)
	}
	if c := daemonSet(t, "resident").Spec.Template.Spec.Containers[0]; !slices.Contains(c.Command, "--host") {
		t.Errorf("the resident's command is %v", c.Command)
	}
}

// TestManifestsInstall does what the pods' first containers do, by the image, in its read-only root, as root with the one
// capability that they add, since the directory is another user's. What the node had comes back.
func TestManifestsInstall(t *testing.T) {
	root, archive, plugins := t.TempDir(), filepath.Join(t.TempDir(), "image.tar"), t.TempDir()
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	files := mutate.Extract(image(t))
	if _, err := f.ReadFrom(files); err != nil {
		t.Fatal(err)
	}
	_, _ = files.Close(), f.Close()
	do(t, root, nil, "tar", "-xf", archive)
	write(t, filepath.Join(plugins, "bridge"), "the node's", 0o755)
	write(t, filepath.Join(plugins, "flannel"), "the node's", 0o755)
	do(t, plugins, nil, "chown", "-R", "1001:1001", ".")
	for _, dir := range []string{"install", "install", "uninstall"} {
		c := daemonSet(t, dir).Spec.Template.Spec.InitContainers[0]
		if added := c.SecurityContext.Capabilities.Add; len(c.VolumeMounts) != 1 || !slices.Equal(added, []core.Capability{"DAC_OVERRIDE"}) {
			t.Fatal(c.VolumeMounts, added)
		}
		at := filepath.Join(root, c.VolumeMounts[0].MountPath)
		do(t, root, nil, "mkdir", "-p", at, "proc")
		args := append([]string{root, plugins, at, "/usr/bin/swiftctl", "install"}, c.Args...)
		if out, err := bare(args...); err != nil {
			t.Fatalf("%s: %v\n%s", dir, err, out)
		}
		if dir == "install" {
			do(t, plugins, []string{"CNI_COMMAND=VERSION"}, "./bridge")
		}
	}
	text, err := os.ReadFile(filepath.Join(plugins, "bridge"))
	if got := list(t, plugins); err != nil || string(text) != "the node's" || !slices.Equal(got, []string{"bridge", "flannel"}) {
		t.Errorf("%v has %q, %v", got, text, err)
	}
}

// bareVar makes the test binary what starts a program in a container's way.
const bareVar = "SWIFTCNI_DIST_BARE"

func bare(args ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), bareVar+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// bareMain executes a program in a read-only root, with a directory mounted, as root who can do no more than pass
// over files' owners: its arguments are
// the root, the directory, where it's mounted, and the program with its own.
func bareMain(args []string) error {
	root, volume, at, program := args[0], args[1], args[2], args[3:]
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"private mounts", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }},
		{"root", func() error { return unix.Mount(root, root, "", unix.MS_BIND, "") }},
		{"proc", func() error { return unix.Mount("proc", root+"/proc", "proc", 0, "") }},
		{"volume", func() error { return unix.Mount(volume, root+strings.TrimPrefix(at, root), "", unix.MS_BIND, "") }},
		{"read-only", func() error { return unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "") }},
		{"chroot", func() error { return unix.Chroot(root) }},
		{"chdir", func() error { return unix.Chdir("/") }},
		{"no_new_privs", func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }},
		{"capabilities", dropOthers},
		{"exec", func() error { return unix.Exec(program[0], program, []string{"PATH=/"}) }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// dropOthers leaves CAP_DAC_OVERRIDE in the bounding set, so that the next program of root's has no other.
func dropOthers() error {
	for c := range uintptr(64) {
		if c == unix.CAP_DAC_OVERRIDE {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err == unix.EINVAL && c > 0 {
			return nil // the kernel knows no more
		} else if err != nil {
			return err
		}
	}
	return nil
}

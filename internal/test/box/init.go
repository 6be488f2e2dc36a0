// SPDX-License-Identifier: Apache-2.0

package box

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ready is PID 1's answer once the box is made. Anything else is an error's text.
const ready = "ready"

// Main turns the process into PID 1 of a box if [Start] executed it for that. Otherwise it returns
// at once. Call it before anything else.
func Main() {
	encoded, ok := os.LookupEnv(optionsVar)
	if !ok {
		return
	}
	os.Unsetenv(optionsVar) // a program of the box may start boxes, too
	report := os.NewFile(3, "report")
	unix.CloseOnExec(3)
	var o Options
	err := json.Unmarshal([]byte(encoded), &o)
	if err == nil {
		err = setUp(o)
	}
	if err != nil {
		fmt.Fprint(report, err)
		os.Exit(1)
	}
	// It is the init of its PID namespace. Programs that want to know who reaps their orphans can
	// see that.
	_ = os.WriteFile("/proc/self/comm", []byte("init"), 0)
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGTERM)
	fmt.Fprint(report, ready)
	report.Close()
	reap(children)
}

// reap waits for orphans, for ever. SIGCHLD isn't queued, so each one may stand for many.
func reap(children <-chan os.Signal) {
	for range children {
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if pid <= 0 && !errors.Is(err, unix.EINTR) {
				break
			}
		}
	}
}

func setUp(o Options) error {
	if err := mountAll(); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(o.Hostname)); err != nil {
		return fmt.Errorf("hostname: %w", err)
	}
	// A new namespace copies the first one's IPv4 settings (net.core.devconf_inherit_init_net is
	// 0).
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0); err != nil {
		return err
	}
	if err := run("ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	if o.Outside {
		return setUpOutside()
	}
	return nil
}

func mountAll() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := mountSys(); err != nil {
		return err
	}
	if err := mountTmpfs("/run"); err != nil {
		return err
	}
	for _, dir := range []string{"/run/netns", "/run/lock"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	return mountOwn(ownDirs[:])
}

// ownDirs are the box's own, besides /run. They are all directories in which any runtime looks for
// plugins and networks by itself. So a plugin that is found is one that a test has put there,
// whatever the machine has installed. Another one is podman's directory of images, wherever its
// storage is.
var ownDirs = [...]string{"/var/lib/cni", "/var/lib/containers", "/etc/cni", "/opt/cni", "/usr/lib/cni", "/usr/libexec/cni", "/usr/local/lib/cni", "/usr/local/libexec/cni"}

// mountSys shows the box's own links in /sys. The cgroups, mounted below the old one, are moved as
// a detached tree, so no directory is needed to keep them meanwhile.
func mountSys() error {
	const cgroup = "/sys/fs/cgroup"
	tree, err := unix.OpenTree(unix.AT_FDCWD, cgroup, unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("keep cgroups: %w", err)
	}
	defer unix.Close(tree)
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, cgroup, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount %s: %w", cgroup, err)
	}
	// crun refuses a hybrid layout, where a second version of cgroups is mounted beside the first.
	_ = unix.Unmount(cgroup+"/unified", unix.MNT_DETACH)
	return nil
}

func mountTmpfs(dir string) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	return nil
}

// mountOwn gives the box empty directories of its own. If the machine has no such directory, an
// overlay over the first parent that it does have holds one, since the machine's file system must
// not be touched.
func mountOwn(dirs []string) error {
	var parents []string
	for _, dir := range dirs {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			parents = append(parents, existingParent(dir))
		}
	}
	// One within another is covered by that one, whose path sorts first.
	slices.Sort(parents)
	last := ""
	for _, parent := range parents {
		if last != "" && strings.HasPrefix(parent+"/", last+"/") {
			continue
		}
		if err := overlay(parent); err != nil {
			return err
		}
		last = parent
	}
	for _, dir := range dirs {
		if err := errors.Join(os.MkdirAll(dir, 0o755), mountTmpfs(dir)); err != nil {
			return err
		}
	}
	return nil
}

func existingParent(dir string) string {
	for {
		dir = filepath.Dir(dir)
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
}

// overlay lays a writable tree over a directory of the machine.
func overlay(dir string) error {
	layers := filepath.Join("/run/.box", dir)
	upper, work := filepath.Join(layers, "upper"), filepath.Join(layers, "work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	data := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
	if err := unix.Mount("overlay", dir, "overlay", 0, data); err != nil {
		return fmt.Errorf("mount an overlay on %s: %w", dir, err)
	}
	return nil
}

// setUpOutside adds the addresses once both ends are up. IPv6 drops the first packets through an
// address that is older than its link's carrier.
func setUpOutside() error {
	for _, command := range []string{
		"ip netns add out",
		"ip link add outside type veth peer name eth0 netns out",
		"ip -n out link set lo up",
		"ip -n out link set eth0 up",
		"ip link set outside up",
		"ip -n out addr add " + RouterIPv4 + "/24 dev eth0",
		"ip -n out addr add " + RouterIPv6 + "/64 dev eth0 nodad",
		"ip addr add " + BoxIPv4 + "/24 dev outside",
		"ip addr add " + BoxIPv6 + "/64 dev outside nodad",
		"ip route add default via " + RouterIPv4,
		"ip -6 route add default via " + RouterIPv6,
	} {
		if err := run(strings.Fields(command)...); err != nil {
			return err
		}
	}
	return nil
}

func run(command ...string) error {
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

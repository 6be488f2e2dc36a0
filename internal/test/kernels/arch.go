// SPDX-License-Identifier: Apache-2.0

package kernels

import "os/exec"

// An Arch is an architecture of Debian's, with the machine that qemu makes of it in software.
type Arch struct {
	Debian, Go string // its names

	kernel   string   // the package that depends on a release's kernel
	triplet  string   // the directory of its libraries
	emulator string   // the program
	pkg      string   // the emulator's package
	machine  []string // arguments of the emulator
	console  string   // the kernel's name of the emulator's first serial line
}

// The architectures whose kernels are run.
var (
	// Debian's emulator gets CMPXCHG16B (cx16) wrong at times. Without it newer kernels don't fault at
	// random.
	AMD64 = Arch{"amd64", "amd64", "linux-image-cloud-amd64", "x86_64-linux-gnu", "qemu-system-x86_64", "qemu-system-x86",
		[]string{"-cpu", "max,-cx16", "-device", card}, "ttyS0"}
	ARM64 = Arch{"arm64", "arm64", "linux-image-cloud-arm64", "aarch64-linux-gnu", "qemu-system-aarch64", "qemu-system-arm",
		[]string{"-machine", "virt", "-cpu", "cortex-a72"}, "ttyAMA0"}
	// S390X is big-endian.
	S390X = Arch{"s390x", "s390x", "linux-image-s390x", "s390x-linux-gnu", "qemu-system-s390x", "qemu-system-misc",
		[]string{"-cpu", "max"}, "ttysclp0"}
	// ARM has 32 bits.
	ARM = Arch{"armhf", "arm", "linux-image-armmp", "arm-linux-gnueabihf", "qemu-system-arm", "qemu-system-arm",
		[]string{"-machine", "virt", "-cpu", "cortex-a15"}, "ttyAMA0"}
	// RISCV64 is one of Debian's from Debian 13 on.
	RISCV64 = Arch{"riscv64", "riscv64", "linux-image-riscv64", "riscv64-linux-gnu", "qemu-system-riscv64", "qemu-system-misc",
		[]string{"-machine", "virt"}, "ttyS0"}
	// PPC64LE has pages of 64 KiB.
	PPC64LE = Arch{"ppc64el", "ppc64le", "linux-image-powerpc64le", "powerpc64le-linux-gnu", "qemu-system-ppc64", "qemu-system-ppc",
		[]string{"-machine", "pseries"}, "hvc0"}
	// MIPS64LE isn't one of Debian's any more from Debian 13 on.
	MIPS64LE = Arch{"mips64el", "mips64le", "linux-image-5kc-malta", "mips64el-linux-gnuabi64", "qemu-system-mips64el", "qemu-system-mips",
		[]string{"-machine", "malta", "-cpu", "5KEf"}, "ttyS0"}
)

// card is the guest's network card, on no network. It has a link once the guest has loaded its
// driver, virtio_net.
const card = "virtio-net-pci,addr=5,mac=52:54:00:00:00:05"

// suffix sets the files of an architecture apart from those of the machine's.
func (a Arch) suffix() string {
	if a.Debian == AMD64.Debian {
		return ""
	}
	return "-" + a.Debian
}

// boot returns the command that boots a kernel with its first root file system. On a busy machine a PC's kernel may find that its
// timer doesn't tick, and panic: it isn't to check (no_timer_check).
func (a Arch) boot(kernel, initrd, parameters string, machine []string) *exec.Cmd {
	args := append([]string{"-accel", "tcg", "-m", "512", "-net", "none", "-nographic", "-no-reboot", "-monitor", "none", "-serial", "stdio"}, a.machine...)
	args = append(args, machine...)
	return exec.Command(a.emulator, append(args, "-kernel", kernel, "-initrd", initrd, "-append", "console="+a.console+" panic=-1 quiet no_timer_check"+parameters)...)
}

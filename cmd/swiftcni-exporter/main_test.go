// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/resident"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

// Variables of the test binary when it's started as another program.
const (
	asResident = "SWIFTCNI_TEST_RESIDENT" // the socket's path
	asExporter = "SWIFTCNI_TEST_EXPORTER"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asResident) != "":
		if err := residentMain(os.Getenv(asResident)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case os.Getenv(asExporter) != "":
		main()
	default:
		nstest.Main(m)
	}
}

func residentMain(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	s, err := resident.New(resident.Options{})
	if err != nil {
		return err
	}
	l, err := resident.Listen(path)
	if err != nil {
		return err
	}
	return s.Serve(ctx, l)
}

// start starts a program that the test ends at the latest.
func start(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// startResident returns once it answers at the path, instead of any other.
func startResident(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	before, _ := socketAt(path)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asResident+"="+path)
	start(t, cmd)
	until(t, "the resident answers", func() bool {
		now, err := socketAt(path)
		if err != nil || now == before {
			return false
		}
		_, err = resident.Ask(t.Context(), path)
		return err == nil
	})
	return cmd
}

func exporter(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asExporter+"=1")
	return cmd
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a minute, and not: %s", what)
		}
	}
}

// scrape reads all metrics at an address, or nothing if nobody answers.
func scrape(t *testing.T, address string) string {
	t.Helper()
	path, isPath := strings.CutPrefix(address, "unix:")
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			if isPath {
				return d.DialContext(ctx, "unix", path)
			}
			return d.DialContext(ctx, "tcp", address)
		}}}
	answer, err := client.Get("http://exporter/metrics")
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status, err)
	}
	return "\n" + string(text)
}

// has reports whether a scrape has a line.
func has(text, line string) bool { return strings.Contains(text, "\n"+line+"\n") }

// A call is one that a runtime makes.
type call struct {
	plugin, verb, container, netns, config string
	env                                    []string
}

// through makes a call through a resident, and returns its standard output.
func (c call) through(t *testing.T, path string) (out string) {
	t.Helper()
	out, err := c.try(path)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", c.verb, c.plugin, err, out)
	}
	return out
}

func (c call) try(path string) (out string, err error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	in, config, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer in.Close()
	from, to, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer from.Close()
	words := append([]string{"/opt/cni/bin/" + c.plugin, "CNI_COMMAND=" + c.verb, "CNI_CONTAINERID=" + c.container, "CNI_NETNS=" + c.netns,
		"CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin"}, c.env...)
	b := binary.NativeEndian.AppendUint32(nil, handover.Version)
	b = binary.NativeEndian.AppendUint32(b, 1)
	b = append(b, strings.Join(words, "\x00")+"\x00"...)
	_, _, err = conn.WriteMsgUnix(b, unix.UnixRights(int(in.Fd()), int(to.Fd()), int(to.Fd())), nil)
	to.Close()
	if err == nil {
		_, err = config.WriteString(c.config)
	}
	config.Close()
	if err != nil {
		return "", err
	}
	var answer [1]byte
	_, err = io.ReadFull(conn, answer[:])
	if err == nil && answer[0] != 0 {
		err = fmt.Errorf("exit status %d", answer[0])
	}
	text, readErr := io.ReadAll(from)
	return string(text), errors.Join(err, readErr)
}

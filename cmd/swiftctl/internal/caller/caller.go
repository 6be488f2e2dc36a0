// SPDX-License-Identifier: Apache-2.0

// Package caller calls the plugins of a list as a container runtime does: each is executed, with CNI's
// variables and the result of the one before it.
package caller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/cni"
	"golang.org/x/sys/unix"
)

// A List is a configuration of several plugins.
type List struct {
	Version string           `json:"cniVersion"`
	Name    string           `json:"name"`
	Plugins []map[string]any `json:"plugins"`
}

// A Container is what a runtime attaches.
type Container struct {
	ID, NetNS, IfName string
	Ports             []Port
}

// A Port is published on the host.
type Port struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"`
}

// A Call is one plugin's, from before its start until it was waited for.
type Call struct {
	Plugin string
	Took   time.Duration
}

// Took is the time of several calls.
func Took(list []Call) (d time.Duration) {
	for _, c := range list {
		d += c.Took
	}
	return d
}

// Add calls the plugins of a directory, the first one first, and returns the last one's result.
func (l *List) Add(ctx context.Context, dir string, c Container) (res *cni.Result, list []Call, err error) {
	var prev json.RawMessage
	for _, p := range l.Plugins {
		call, said, err := l.call(ctx, dir, "ADD", p, c, prev)
		if err != nil {
			return nil, nil, err
		}
		list, prev = append(list, call), said
	}
	res = new(cni.Result)
	if err := json.Unmarshal(prev, res); err != nil {
		return nil, nil, fmt.Errorf("a result that can't be read: %w", err)
	}
	return res, list, nil
}

// Del calls them the other way round. prev is what ADD returned.
func (l *List) Del(ctx context.Context, dir string, c Container, prev *cni.Result) (list []Call, err error) {
	text, err := json.Marshal(prev)
	if err != nil {
		return nil, err
	}
	for _, p := range slices.Backward(l.Plugins) {
		call, _, err := l.call(ctx, dir, "DEL", p, c, text)
		if err != nil {
			return nil, err
		}
		list = append(list, call)
	}
	return list, nil
}

// input is one plugin's configuration.
func (l *List) input(plugin map[string]any, c Container, prev json.RawMessage) ([]byte, error) {
	conf := maps.Clone(plugin)
	conf["cniVersion"], conf["name"] = l.Version, l.Name
	if can, _ := conf["capabilities"].(map[string]bool); can["portMappings"] && c.Ports != nil {
		conf["runtimeConfig"] = map[string]any{"portMappings": c.Ports}
	}
	delete(conf, "capabilities")
	if prev != nil {
		conf["prevResult"] = prev
	}
	return json.Marshal(conf)
}

// call executes a plugin.
func (l *List) call(ctx context.Context, dir, verb string, plugin map[string]any, c Container, prev json.RawMessage) (Call, json.RawMessage, error) {
	name, _ := plugin["type"].(string)
	conf, err := l.input(plugin, c, prev)
	if err != nil {
		return Call{}, nil, err
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + c.ID, "CNI_NETNS=" + c.NetNS, "CNI_IFNAME=" + c.IfName, "CNI_PATH=" + dir}
	took, said, err := Execute(ctx, filepath.Join(dir, name), env, conf)
	if err == nil && verb == "ADD" && !json.Valid(said) {
		err = fmt.Errorf("its result isn't JSON: %.80q", said)
	}
	if err != nil {
		err = fmt.Errorf("%s of %s: %w", verb, name, err)
	}
	return Call{name, took}, said, err
}

// limit is for a program that doesn't end. No call takes as long.
const limit = 5 * time.Minute

// Execute executes a program, from before its start until it was waited for. Its input and output are
// files in memory, so that nobody has to read or write while the clock runs. The end of the context ends
// the program.
func Execute(ctx context.Context, path string, env []string, input []byte) (took time.Duration, said []byte, err error) {
	var files [3]*os.File
	for i, text := range [][]byte{input, nil, nil} {
		if files[i], err = memory(text); err != nil {
			return 0, nil, err
		}
		defer files[i].Close()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it didn't end within %v", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, files[0], files[1], files[2]
	start := time.Now()
	err = cmd.Run()
	took = time.Since(start)
	said, readErr := content(files[1])
	if err != nil && ctx.Err() != nil {
		return took, nil, context.Cause(ctx)
	}
	if err != nil {
		more, _ := content(files[2])
		return took, nil, reason(err, said, more)
	}
	return took, said, readErr
}

// reason is a plugin's own error, if it printed one.
func reason(err error, said, more []byte) error {
	var own struct{ Msg, Details string }
	switch {
	case json.Unmarshal(said, &own) == nil && own.Msg != "":
		return errors.New(strings.TrimSuffix(own.Msg+": "+own.Details, ": "))
	case len(said)+len(more) > 0:
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(said)+string(more)))
	}
	return err
}

// memory is a file that has no name, and some content.
func memory(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("call", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "call")
	_, err = f.Write(text)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func content(f *os.File) ([]byte, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

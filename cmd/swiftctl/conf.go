// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni"
)

// maxConf bounds a configuration, in bytes.
const maxConf = 16 << 20

// confHelp explains CONF.
const (
	confHelp = `CONF is a plugin configuration (.conf) or a list of them (.conflist). All plugins of a list are run. The keys
that a runtime adds for each container, "runtimeConfig" and "args", may stand beside "plugins".`
	stdinHelp = ` "-" is standard input.`
)

// readConf reads the configuration at path; "-" is stdin. lax accepts one that has turned invalid,
// as far as it can be read.
func readConf(path string, stdin io.Reader, lax bool) (*cni.Network, error) {
	text, err := readConfText(path, stdin)
	if err != nil {
		return nil, err
	}
	n, err := cni.Parse(text)
	if err != nil && (n == nil || !lax) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

func readConfText(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		return readBounded(stdin, "standard input", maxConf)
	}
	return readFile(path, maxConf)
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, path, limit)
}

// readBounded reads all of r, at most limit bytes.
func readBounded(r io.Reader, name string, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = errors.New("larger than " + strconv.FormatInt(limit>>20, 10) + " MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return text, nil
}

func hasKey(keys map[string]json.RawMessage, name string) bool {
	for key := range keys {
		if strings.EqualFold(key, name) {
			return true
		}
	}
	return false
}

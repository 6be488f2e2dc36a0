// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// hookLog is the log of a hook, or none.
type hookLog struct {
	*slog.Logger
	file *os.File
}

// openLog opens a log to add to; "" is none. The log that comes with an error drops all messages. A
// symbolic link isn't followed: logs often lie where other users may write.
func openLog(path string) (hookLog, error) {
	l := hookLog{Logger: slog.New(slog.DiscardHandler)}
	if path == "" {
		return l, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return l, err
	}
	return hookLog{Logger: slog.New(slog.NewTextHandler(f, nil)), file: f}, nil
}

func (l hookLog) close() {
	if l.file != nil {
		l.file.Close()
	}
}

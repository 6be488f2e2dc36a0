// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"errors"
	"hash/fnv"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// shared is a file whose bytes residents lock against each other where one follows another, since
// the former finishes its calls (F_OFD_SETLKW, fcntl(2)). A nil one locks nothing: there's no other
// resident, or the file couldn't be made. Calls are made all the same then, as by processes.
type shared os.File

// collecting is the byte for GC. It's behind those of containers.
const collecting = 1 << 62

// byteOf is the byte for a container's calls.
func byteOf(id string) int64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, id)
	return int64(h.Sum64() % collecting)
}

func openShared(path string) *shared {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil
	}
	return (*shared)(f)
}

func (s *shared) close() {
	if s != nil {
		_ = (*os.File)(s).Close()
	}
}

// lock waits for a lock of a byte, or unlocks it. How is unix.F_RDLCK, F_WRLCK or F_UNLCK.
func (s *shared) lock(place int64, how int16) {
	if s != nil {
		_ = s.control(unix.F_OFD_SETLKW, &unix.Flock_t{Type: how, Start: place, Len: 1})
	}
}

// await waits until no other resident has a lock of a byte. One question tells if any has. If so, it
// waits for this resident's own lock too.
func (s *shared) await(place int64) {
	if s == nil {
		return
	}
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: place, Len: 1}
	if err := s.control(unix.F_OFD_GETLK, &l); err != nil || l.Type == unix.F_UNLCK {
		return
	}
	// One opening of a file has one lock of a byte, so this takes another.
	again, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int((*os.File)(s).Fd())), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer again.Close()
	(*shared)(again).lock(place, unix.F_WRLCK)
}

func (s *shared) control(command int, l *unix.Flock_t) error {
	for {
		if err := unix.FcntlFlock((*os.File)(s).Fd(), command, l); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package resident

import "os"

// A spare is an open file that gives up its descriptor when there's no other for a caller. Without
// it a caller would wait until there's one.
type spare struct{ file *os.File }

func (s *spare) open() { s.file, _ = os.Open(os.DevNull) }

func (s *spare) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// sendBack sends the next caller back, who makes the call itself. It's false if there's no
// descriptor even so.
func (s *spare) sendBack(l *Listener) bool {
	had := s.file != nil
	s.close()
	if had {
		conn, err := l.AcceptUnix()
		if had = err == nil; had {
			sendBack(conn)
			conn.Close()
		}
	}
	s.open()
	return had
}

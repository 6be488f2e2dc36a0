// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// maxLine bounds an event's line, in bytes.
const maxLine = 64 << 10

// Follow has the resident that listens at a path tell of its calls, from when it has called begun
// with the resident's version. It then calls each with each event, and returns nil once the resident
// has ended. The functions shouldn't take long: events are lost for which the resident has no room.
// The error is that of [Ask] before begun was called; later it's the context's, or that the resident
// tells something else than events.
func Follow(ctx context.Context, path string, begun func(version string), each func(*Event)) error {
	q, err := put(ctx, path, question, forEvents)
	if err != nil {
		return err
	}
	defer q.close()
	lines := bufio.NewScanner(q.text)
	lines.Buffer(nil, maxLine)
	if !lines.Scan() {
		return because(ctx, errors.Join(lines.Err(), errors.New("the resident says nothing")))
	}
	begun(strings.TrimSpace(lines.Text()))
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("an event: %w", err)
		}
		each(&e)
	}
	if err := lines.Err(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return ctx.Err()
}

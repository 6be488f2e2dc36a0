// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/resident"
	"golang.org/x/sys/unix"
)

// untilResident is how long a resident may take to answer.
const untilResident = 2 * time.Second

// residentNote is a line about a resident that's well, or nothing.
func residentNote(ctx context.Context, path string) string {
	ctx, stop := context.WithTimeout(ctx, untilResident)
	defer stop()
	if version, err := resident.Ask(ctx, path); err == nil && version == cni.Version() {
		return "a resident of this version makes the plugins' calls\n"
	}
	return ""
}

// resident asks the resident at a path, if there is one, as a plugin would. It needs none.
func (x *examination) resident(ctx context.Context, path string) error {
	const restart = "systemctl restart swiftcni.service"
	ctx, stop := context.WithTimeout(ctx, untilResident)
	defer stop()
	version, err := resident.Ask(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, unix.ECONNREFUSED):
		x.add("resident-silent", "", "", "nobody listens at "+path+", so the plugins make their calls themselves: the resident was killed",
			"rm "+path)
	case errors.Is(err, context.DeadlineExceeded):
		x.add("resident-silent", "", "", "the resident that listens at "+path+" doesn't answer, and plugins wait for it", restart)
	case errors.Is(err, resident.ErrSentBack):
		x.add("resident-apart", "", "", "the resident makes no calls from here: it has other namespaces, more capabilities, too many calls or an older version", restart)
	case err != nil:
		return err
	case version != cni.Version():
		x.add("resident-version", "", "", "the resident is of version "+cell(version)+", and swiftctl of "+cell(cni.Version()), restart)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// release makes the files. Nothing in them depends on when, where, and by whom.
type release struct {
	root, out, work string
	version         string    // v0.9.0
	made            time.Time // of the commit, or SOURCE_DATE_EPOCH: the time of every file
	targets         []target
	imageOnly       bool
	progress        io.Writer
}

// semantic is a version that's also good in the name of a file: semver.org's, with the v that git tags have.
var semantic = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

func (r *release) run() (err error) {
	if !semantic.MatchString(r.version) {
		return fmt.Errorf("%q is no version such as v0.9.0", r.version)
	}
	if err := r.announced(); err != nil {
		return err
	}
	if r.made, err = r.when(); err != nil {
		return err
	}
	if r.work, err = os.MkdirTemp("", "swiftcni-dist-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.work)) }()
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	var all []*built
	for _, t := range r.targets {
		b, err := r.build(t)
		if err == nil && !r.imageOnly {
			err = r.forTarget(b)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		all = append(all, b)
	}
	if err := r.image(all); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if r.imageOnly {
		return nil
	}
	return r.source()
}

// announced makes sure that the changes of a version that isn't a step between two have a section of their own.
func (r *release) announced() error {
	if core, pre := split(r.version); pre == "" && !strings.Contains(r.version, "+") {
		text, err := os.ReadFile(r.in("CHANGELOG.md"))
		if err != nil {
			return err
		}
		if !strings.Contains(string(text), "\n## ["+core+"] - ") {
			return fmt.Errorf("CHANGELOG.md has no section of %s", core)
		}
	}
	return nil
}

// forTarget makes the files of one architecture.
func (r *release) forTarget(b *built) error {
	docs, t := b.docs, b.target
	plugins := append(b.plugins(""), docs.only("LICENSE", "README.md", licensesName)...)
	if err := r.archive("cni-plugins-linux-"+t.name+"-"+r.version+".tgz", plugins); err != nil {
		return err
	}
	if err := r.archive("swiftcni-linux-"+t.name+"-"+r.version+".tgz", r.prefixed(b)); err != nil {
		return err
	}
	if err := r.packages(b, docs); err != nil {
		return err
	}
	return r.bill(b)
}

// prefixed are the files of the full archive, for a prefix such as /usr/local.
func (r *release) prefixed(b *built) tree {
	list := append(b.programs("bin/"), b.docs.under("share/doc/swiftcni/")...)
	list = append(list, b.units("/usr/local/bin/").under("lib/systemd/system/")...)
	return append(list, b.pages.under("share/man/")...)
}

func (r *release) when() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH") // https://reproducible-builds.org/specs/source-date-epoch
	if text == "" {
		var err error
		if text, err = r.git("log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, err
		}
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	return time.Unix(seconds, 0).UTC(), err
}

// git asks the clone's git, which must not say that the clone is another user's.
func (r *release) git(args ...string) (string, error) {
	return output("git", append([]string{"-c", "safe.directory=" + r.root, "-C", r.root}, args...)...)
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}

// in makes a path below the repository.
func (r *release) in(path string) string { return filepath.Join(r.root, filepath.FromSlash(path)) }

// tool runs a program in a directory.
func (r *release) tool(dir string, env []string, name string, args ...string) error {
	return build.Run(r.progress, dir, env, name, args...)
}

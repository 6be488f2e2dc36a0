// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
)

// newMark returns a word that no command prints by chance.
func newMark() string { return "mark-" + rand.Text() }

// runScript is the guest's own part. It runs the commands and says on the console where each begins
// and ends. The empty line before a mark ends a line that a command may have left open. The parser
// removes it again.
func runScript(mark string, commands int) string {
	return fmt.Sprintf(`export PATH=/mnt/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run
busybox mount -t tmpfs tmp /tmp
mkdir -p /run/netns
echo 1 > /proc/sys/kernel/printk
ip link set lo up
cd /mnt
i=0
while [ $i -lt %[2]d ]; do
	echo; echo "%[1]s begin $i"
	dash commands/$i < /dev/null 2>&1
	status=$?
	echo; echo "%[1]s end $i $status"
	i=$((i + 1))
done
busybox poweroff -f
`, mark, commands)
}

// console is the writer for a guest's console. It cuts the results out of it as they come.
type console struct {
	mark    string
	want    int
	results []Result
	each    func(Result)
	heard   func()       // called with each part, if it's set
	all     bytes.Buffer // everything, for errors
	line    []byte       // the last line, while it's open
	inside  bool         // between a begin and an end
	output  strings.Builder
}

func newConsole(mark string, commands int) *console { return &console{mark: mark, want: commands} }

// Write takes the next part of the console. It never fails.
func (c *console) Write(p []byte) (int, error) {
	if c.heard != nil {
		c.heard()
	}
	c.all.Write(p)
	c.line = append(c.line, p...)
	for {
		line, rest, ended := bytes.Cut(c.line, []byte("\n"))
		if !ended {
			return len(p), nil
		}
		c.take(strings.TrimSuffix(string(line), "\r")) // a serial line ends lines as terminals do
		c.line = rest
	}
}

// overtaken begins the line by which ip(8) says that other changes came between the parts of a listing,
// such as those of links that a DEL has left to the kernel.
const overtaken = "Dump was interrupted"

func (c *console) take(line string) {
	words := strings.Fields(line)
	switch {
	case len(words) == 3 && words[0] == c.mark && words[1] == "begin" && words[2] == strconv.Itoa(len(c.results)):
		c.inside = true
		c.output.Reset()
	case len(words) == 4 && words[0] == c.mark && words[1] == "end" && c.inside:
		exit, err := strconv.Atoi(words[3])
		if err != nil {
			exit = -1
		}
		r := Result{strings.TrimSuffix(c.output.String(), "\n"), exit}
		c.results = append(c.results, r)
		c.inside = false
		if c.each != nil {
			c.each(r)
		}
	case c.inside && strings.HasPrefix(line, overtaken):
		// The command can't be run again. What it has listed is compared all the same.
	case c.inside:
		c.output.WriteString(line + "\n")
	}
}

// missing is the error of a guest that ended before its commands did.
func (c *console) missing() error {
	if len(c.results) == c.want {
		return nil
	}
	tail := c.all.Bytes()
	if len(tail) > 4000 {
		tail = tail[len(tail)-4000:]
	}
	return fmt.Errorf("the guest ended after %d of %d commands; its console ends so:\n%s", len(c.results), c.want, tail)
}

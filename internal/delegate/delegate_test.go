// SPDX-License-Identifier: Apache-2.0

package delegate

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// conf is a configuration that names an IPAM plugin. Its spacing is to reach the plugin.
func conf(plugin string) string {
	return "{ \"cniVersion\": \"1.0.0\",\n\t\"name\": \"net\", \"type\": \"bridge\", \"ipam\": { \"type\": " + strconv.Quote(plugin) + `, "own": [ 1,2 ] } } ` + "\n"
}

func network(t *testing.T, text string) *netconf.Network {
	t.Helper()
	n, err := netconf.Read([]byte(text), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// scripted is an IPAM plugin that's a shell script, and the context of calls that find it. DIR in
// the script is its directory.
func scripted(t *testing.T, script string) (p *Plugin, ctx context.Context, dir string) {
	t.Helper()
	dir = t.TempDir()
	write(t, filepath.Join(dir, "scripted"), "#!/bin/sh\n"+strings.ReplaceAll(script, "DIR", dir), 0o755)
	return Of(network(t, conf("scripted"))), process.WithPath(t.Context(), []string{dir}), dir
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var eth0 = spec.Attachment{ContainerID: "c1", IfName: "eth0", NetNS: "/run/netns/c1", Args: "IgnoreUnknown=1;A=b"}

const someAddress = `echo '{"ips":[{"address":"10.1.2.3/24"}]}'`

func TestFind(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "good/p"), "", 0o755)
	write(t, filepath.Join(root, "by-group/p"), "", 0o010)
	write(t, filepath.Join(root, "plain/p"), "", 0o644)
	write(t, filepath.Join(root, "directory/p/file"), "", 0o755)
	write(t, filepath.Join(root, "links/real"), "", 0o755)
	for name, to := range map[string]string{"links/p": "real", "links/dangling": "nothing"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(root, "good"))
	for name, tt := range map[string]struct {
		plugin string
		path   []string // below root
		want   string   // below root
		err    string
		code   uint
	}{
		"the first one":            {plugin: "p", path: []string{"good", "by-group"}, want: "good/p"},
		"executable by anybody":    {plugin: "p", path: []string{"by-group", "good"}, want: "by-group/p"},
		"by a link":                {plugin: "p", path: []string{"links", "good"}, want: "links/p"},
		"behind what can't be run": {plugin: "p", path: []string{"nowhere", "plain", "directory", "good"}, want: "good/p"},
		"not by the directory":     {plugin: "p", path: []string{"", "plain"}, err: `failed to find plugin "p" in path [ ROOT/plain]`, code: spec.CodeInvalidNetwork},
		"a dangling link":          {plugin: "dangling", path: []string{"links"}, err: `failed to find plugin "dangling" in path [ROOT/links]`, code: spec.CodeInvalidNetwork},
		"no path":                  {plugin: "p", err: "no paths provided", code: spec.CodeInvalidEnvironment},
		"no name":                  {path: []string{"good"}, err: "no plugin name provided", code: spec.CodeInvalidNetwork},
		"a path for a name":        {plugin: "../good/p", path: []string{"good"}, err: "invalid plugin name: ../good/p", code: spec.CodeInvalidNetwork},
		"a path of Windows":        {plugin: `good\p`, path: []string{"good"}, err: `invalid plugin name: good\p`, code: spec.CodeInvalidNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			var dirs []string
			for _, dir := range tt.path {
				if dir != "" {
					dir = filepath.Join(root, dir)
				}
				dirs = append(dirs, dir)
			}
			p, err := Of(network(t, conf(tt.plugin))).Find(process.WithPath(t.Context(), dirs))
			if tt.err != "" {
				if want := strings.ReplaceAll(tt.err, "ROOT", root); err == nil || err.Error() != want || fault.Of(err).Code != tt.code || fault.Of(err).Key == "" {
					t.Errorf("got %v, want %s with code %d", err, want, tt.code)
				}
				return
			}
			if err != nil || p.path != filepath.Join(root, tt.want) {
				t.Errorf("got %+v, %v, want %s", p, err, tt.want)
			}
		})
	}
}

// The program itself is an IPAM plugin by the names of its own alone, which links may lead to. By
// any other it would call itself without end.
func TestFindOurselves(t *testing.T) {
	nstest.Kernel(t)
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, to := range map[string]string{
		"host-local": own, "static": own, "cnv-static": "static", "bridge": own, "foreign": own, "further": "foreign", "scripted": "/bin/sh",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	linkErr := os.Link(own, filepath.Join(dir, "hard"))
	if linkErr != nil { // another file system, or another's file
		write(t, filepath.Join(dir, "hard"), "", 0o755)
	}
	ctx := process.WithPath(t.Context(), []string{dir})
	for name, refused := range map[string]bool{
		"host-local": false, "static": false, "cnv-static": false, "scripted": false, "bridge": true, "foreign": true, "further": true, "hard": linkErr == nil,
	} {
		_, err := Of(network(t, conf(name))).Find(ctx)
		want := strconv.Quote(filepath.Join(dir, name)) + " is swiftcni itself, which gives addresses as host-local, static and dhcp alone"
		if (err != nil) != refused || err != nil && err.Error() != want {
			t.Errorf("%s: got %v, refused should be %v", name, err, refused)
		}
	}
}

// The program gets the call's variables and the caller's others, each once, the configuration as it
// came, and its own path as its only argument.
func TestProgramsWorld(t *testing.T) {
	p, ctx, dir := scripted(t, `
		env >DIR/env
		cat >DIR/stdin
		echo "$0" "$@" >DIR/args
		pwd >DIR/pwd
		for file in /proc/$$/fd/*; do readlink $file; done >DIR/files
		`+someAddress)
	for name, value := range map[string]string{
		"CNI_COMMAND": "VERSION", "CNI_CONTAINERID": "other", "CNI_NETNS_OVERRIDE": "1", "CNI_PATH": "/other", "CNI_FURTHER": "x", "FOO": "of=the caller",
	} {
		t.Setenv(name, value)
	}
	ctx = process.WithPath(ctx, []string{"", "/nowhere", dir})
	if _, err := p.Add(ctx, nil, eth0); err != nil {
		t.Fatal(err)
	}
	var ours, others []string
	for line := range strings.Lines(read(t, filepath.Join(dir, "env"))) {
		if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, "CNI_") {
			ours = append(ours, line)
		} else {
			others = append(others, line)
		}
	}
	slices.Sort(ours)
	if want := []string{"CNI_ARGS=IgnoreUnknown=1;A=b", "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/run/netns/c1",
		"CNI_PATH=:/nowhere:" + dir}; !slices.Equal(ours, want) {
		t.Errorf("variables\n%q, want\n%q", ours, want)
	}
	if !slices.Contains(others, "FOO=of=the caller") || !slices.Contains(others, "PATH="+os.Getenv("PATH")) {
		t.Errorf("other variables %q", others)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"stdin": conf("scripted"), "args": filepath.Join(dir, "scripted") + "\n", "pwd": wd + "\n",
	} {
		if got := read(t, filepath.Join(dir, file)); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	if files := read(t, filepath.Join(dir, "files")); strings.Count(files, "memfd:cni") != 1 {
		t.Errorf("it has the files %s", files)
	}

	shared := eth0
	shared.SharedNetNS = true
	if err := p.Del(ctx, nil, shared); err != nil {
		t.Fatal(err)
	}
	if env := read(t, filepath.Join(dir, "env")); !strings.Contains(env, "CNI_NETNS_OVERRIDE=1\n") || !strings.Contains(env, "CNI_COMMAND=DEL\n") {
		t.Errorf("variables of a shared namespace: %s", env)
	}
}

// A configuration of any size is no reason to wait for a program that doesn't read it.
func TestInputIsntRead(t *testing.T) {
	_, ctx, _ := scripted(t, someAddress)
	text := strings.TrimSpace(conf("scripted"))
	text = text[:len(text)-1] + `, "more": "` + strings.Repeat("x", 1<<20) + `" }`
	if _, err := Of(network(t, text)).Add(ctx, nil, eth0); err != nil {
		t.Error(err)
	}
}

// Each verb has its command, and those of no attachment name none.
func TestCommands(t *testing.T) {
	p, ctx, dir := scripted(t, `echo "$CNI_COMMAND <$CNI_CONTAINERID><$CNI_IFNAME><$CNI_NETNS>" >>DIR/log; `+someAddress)
	_, addErr := p.Add(ctx, nil, eth0)
	for i, err := range []error{
		addErr, p.Check(ctx, nil, eth0), p.Del(ctx, nil, eth0), p.Del(ctx, nil, eth0),
		p.GC(ctx, nil, []spec.Attachment{eth0}), p.Reclaim(ctx, nil), p.Status(ctx, nil),
	} {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	const of = " <c1><eth0></run/netns/c1>\n"
	if got, want := read(t, filepath.Join(dir, "log")), "ADD"+of+"CHECK"+of+"DEL"+of+"DEL"+of+"GC <><><>\nGC <><><>\nSTATUS <><><>\n"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Without its program every verb fails, and STATUS says that no ADD can succeed.
func TestNoProgram(t *testing.T) {
	p, ctx := Of(network(t, conf("scripted"))), process.WithPath(t.Context(), []string{t.TempDir()})
	for verb, err := range map[string]error{"CHECK": p.Check(ctx, nil, eth0), "DEL": p.Del(ctx, nil, eth0), "GC": p.GC(ctx, nil, nil)} {
		if err == nil || fault.Of(err).Key != "ipam.type" {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if e := fault.Of(p.Status(ctx, nil)); e.Code != spec.CodeUnavailable || e.Msg != "the IPAM plugin can't be run" ||
		!strings.HasPrefix(e.Details, `failed to find plugin "scripted"`) {
		t.Errorf("STATUS: %+v", e)
	}
}

// withStderr runs fn, and returns what was written to the process's standard error meanwhile.
func withStderr(t *testing.T, fn func()) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	was := os.Stderr
	os.Stderr = f
	defer func() { os.Stderr = was }()
	fn()
	return read(t, f.Name())
}

// open counts the descriptors of this process.
func open(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// A failed program's error object is passed on. Without a readable one the error says what there
// was, and the details which program it was.
func TestFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		script       string
		code         uint
		msg, details string // PATH stands for the program's path
	}{
		"an error object": {`echo '{ "cniVersion": "1.0.0", "code": 123, "msg": "no address today", "details": "come back tomorrow", "more": [7] }'; echo noise >&2; exit 1`,
			123, "no address today", "come back tomorrow"},
		"an error object without code": {`echo '{"msg": "no"}'; exit 2`, 0, "no", ""},
		"an empty object":              {`echo '{}'; exit 2`, 0, "", ""},
		"silence":                      {`echo; exit 3`, 0, `netplugin failed with no error message: "exit status 3"`, `plugin "scripted" at PATH ended with exit status 3`},
		"killed":                       {`kill -9 $$`, 0, `netplugin failed with no error message: "signal: killed"`, `plugin "scripted" at PATH ended with signal: killed`},
		"standard error":               {`echo 'out of luck' >&2; exit 1`, 0, `netplugin failed: "out of luck\n"`, `plugin "scripted" at PATH ended with exit status 1`},
		"rubbish": {`echo 'panic: x'; exit 2`, 0,
			`netplugin failed but error parsing its diagnostic message "panic: x\n": invalid character 'p' looking for beginning of value`,
			`plugin "scripted" at PATH ended with exit status 2`},
		"more than an object": {`echo '{"code":7,"msg":"no"} x'; exit 2`, 0,
			`netplugin failed but error parsing its diagnostic message "{\"code\":7,\"msg\":\"no\"} x\n": invalid character 'x' after top-level value`,
			`plugin "scripted" at PATH ended with exit status 2`},
		"a code that isn't one": {`echo '{"code":"7","msg":"no"}'; exit 2`, 0,
			`netplugin failed but error parsing its diagnostic message "{\"code\":\"7\",\"msg\":\"no\"}\n": `, `plugin "scripted" at PATH ended with exit status 2`},
		"a negative code": {`echo '{"code":-7,"msg":"no"}'; exit 2`, 0,
			`netplugin failed but error parsing its diagnostic message "{\"code\":-7,\"msg\":\"no\"}\n": `, `plugin "scripted" at PATH ended with exit status 2`},
	} {
		t.Run(name, func(t *testing.T) {
			p, ctx, dir := scripted(t, tt.script)
			before := open(t)
			var err error
			said := withStderr(t, func() { err = p.Del(ctx, nil, eth0) })
			if err == nil {
				t.Fatal("no error")
			}
			e := fault.Of(err)
			if want := strings.ReplaceAll(tt.details, "PATH", filepath.Join(dir, "scripted")); e.Code != tt.code || !strings.HasPrefix(e.Msg, tt.msg) || e.Details != want {
				t.Errorf("got  %d, %q, %q\nwant %d, %q, %q", e.Code, e.Msg, e.Details, tt.code, tt.msg, want)
			}
			if said != "" {
				t.Errorf("a failure's words went to standard error: %q", said)
			}
			if _, err := p.Add(ctx, nil, eth0); err == nil {
				t.Error("ADD succeeds")
			}
			if after := open(t); after != before {
				t.Errorf("%d open files, %d before", after, before)
			}
		})
	}
}

// A file that the kernel refuses to execute is named with the kernel's reason.
func TestNotExecuted(t *testing.T) {
	for text, want := range map[string]string{
		"#!/nowhere/sh\n": "no such file or directory",
		"echo\n":          "exec format error",
	} {
		p, ctx, dir := scripted(t, "")
		write(t, filepath.Join(dir, "scripted"), text, 0o755)
		err := p.Del(ctx, nil, eth0)
		if err == nil || !strings.HasPrefix(err.Error(), `failed to run plugin "scripted": `) || !strings.HasSuffix(err.Error(), want) ||
			fault.Of(err).Code != spec.CodeInternal {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	bound := "0 to 4294967295"
	if strconv.IntSize == 32 {
		bound = "a whole number" // of those that an int holds
	}
	dual := `{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.1.2.9/24","gateway":"10.1.2.1"},{"version":"6","address":"fd00::9/64"}],
		"routes":[{"dst":"0.0.0.0/0"},{"dst":"fd99::/64","gw":"fd00::1"}],"dns":{"nameservers":["10.1.2.1"]}}`
	for name, tt := range map[string]struct {
		answer, want string // want is the result's addresses and routes, or the error
		version      string // empty is 1.0.0
	}{
		"of another version":      {answer: dual, want: "0.3.1: 10.1.2.9/24 via 10.1.2.1, fd00::9/64, 0.0.0.0/0, fd99::/64 via fd00::1; [10.1.2.1]"},
		"of no version":           {answer: `{"ips":[{"address":"10.1.2.9/24"}]}`, want: "1.0.0: 10.1.2.9/24; []"},
		"two addresses at 0.2.0":  {version: "0.2.0", answer: `{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.1.2.9/24"},{"version":"4","address":"10.1.2.8/24"}]}`, want: "CNI version 0.2.0 does not support more than 1 address per family"},
		"null":                    {answer: "null", want: "IPAM plugin returned missing IP config"},
		"an error object after 0": {answer: `{"code":7,"msg":"no"}`, want: "IPAM plugin returned missing IP config"},
		"a route to nowhere": {answer: `{"ips":[{"address":"10.1.2.9/24"}],"routes":[{"dst":"10.0.0.0/8"},{"gw":"10.1.2.1"}]}`,
			want: `invalid "scripted.routes[1]": expected a route with "dst"`},
		"families mixed": {answer: `{"ips":[{"address":"10.1.2.9/24"}],"routes":[{"dst":"::/0","gw":"10.1.2.1"}]}`,
			want: `invalid "scripted.routes[0]": expected "gw" of the family of "dst"`},
		"a priority of 33 bits": {answer: `{"ips":[{"address":"10.1.2.9/24"}],"routes":[{"dst":"10.0.0.0/8","priority":4294967296}]}`,
			want: `invalid "scripted.routes[0].priority": expected ` + bound + `, got 4294967296`},
		"a wrong address": {answer: `{"ips":[{"address":7}]}`, want: `invalid "scripted.ips[0].address": expected a string, got a number`},
	} {
		t.Run(name, func(t *testing.T) {
			_, ctx, _ := scripted(t, "cat <<'END'\n"+tt.answer+"\nEND")
			text := conf("scripted")
			if tt.version != "" {
				text = strings.Replace(text, "1.0.0", tt.version, 1)
			}
			res, err := Of(network(t, text)).Add(ctx, nil, eth0)
			if err != nil {
				if got := fault.Of(err).Msg; got != tt.want {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
				return
			}
			var list []string
			for _, ip := range res.IPs {
				list = append(list, via(ip.Address.String(), ip.Gateway))
			}
			for _, r := range res.Routes {
				list = append(list, via(r.Dst.String(), r.Gateway))
			}
			if got := res.CNIVersion + ": " + strings.Join(list, ", ") + "; [" + strings.Join(res.DNS.Nameservers, " ") + "]"; got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func via(to string, gw interface {
	IsValid() bool
	String() string
}) string {
	if !gw.IsValid() {
		return to
	}
	return to + " via " + gw.String()
}

// An answer that isn't JSON is the program's fault and no fault of the configuration. The details
// quote its beginning.
func TestRubbishIsQuoted(t *testing.T) {
	rubbish := "lease acquired" + strings.Repeat(".", 500)
	p, ctx, dir := scripted(t, "echo "+rubbish)
	_, err := p.Add(ctx, nil, eth0)
	want := `plugin "scripted" at ` + filepath.Join(dir, "scripted") + ` answered "` + rubbish[:200] + `" to ADD`
	if e := fault.Of(err); err == nil || e.Code != spec.CodeInternal || !strings.HasPrefix(e.Msg, "failed to unmarshal raw result: ") || e.Details != want {
		t.Errorf("%+v", err)
	}
	for verb, call := range map[string]func() error{
		"CHECK": func() error { return p.Check(ctx, nil, eth0) },
		"DEL":   func() error { return p.Del(ctx, nil, eth0) },
	} {
		if err := call(); err != nil {
			t.Errorf("%s is to answer nothing, whatever that is: %v", verb, err)
		}
	}
}

// A program that succeeds may say something on the way, which the caller's standard error gets.
func TestStandardErrorIsPassedOn(t *testing.T) {
	p, ctx, _ := scripted(t, `echo one >&2; `+someAddress+`; echo two >&2`)
	said := withStderr(t, func() {
		if _, err := p.Add(ctx, nil, eth0); err != nil {
			t.Error(err)
		}
	})
	if said != "one\ntwo\n" {
		t.Errorf("passed on %q", said)
	}
}

// A program that never stops talking fails, without a reader to wait for. On standard error it may
// say what it likes.
func TestEndlessWords(t *testing.T) {
	p, ctx, _ := scripted(t, `exec yes`)
	if _, err := p.Add(ctx, nil, eth0); err == nil || !strings.Contains(err.Error(), `plugin "scripted"`) || len(err.Error()) > 1000 {
		t.Errorf("%.1000v", err)
	}
	p, ctx, _ = scripted(t, `yes | head -c `+strconv.Itoa(netconf.MaxInput+1<<20)+` >&2; `+someAddress)
	said := withStderr(t, func() {
		if _, err := p.Add(ctx, nil, eth0); err != nil {
			t.Error(err)
		}
	})
	if len(said) != netconf.MaxInput {
		t.Errorf("passed on %d bytes", len(said))
	}
}

// Several calls share nothing.
func TestResultIsTheCalls(t *testing.T) {
	p, ctx, _ := scripted(t, `echo '{"ips":[{"address":"10.1.2.'$CNI_CONTAINERID'/24"}]}'`)
	var got []string
	for _, id := range []string{"3", "4"} {
		a := eth0
		a.ContainerID = id
		res, err := p.Add(ctx, nil, a)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, res.IPs[0].Address.String())
	}
	if want := []string{"10.1.2.3/24", "10.1.2.4/24"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

var seedFlag = flag.Uint64("seed", 0, "seed of random tests; 0 takes the time")

// seeded returns a source of random numbers whose seed is printed when the test fails.
func seeded(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// refusal is an error of the reference, by its text.
type refusal string

func (r refusal) Error() string { return string(r) }

// hostLocal runs the reference. It returns the addresses that ADD gave, or its error's text.
func hostLocal(t testing.TB, dir, command string, o Owner, ranges []RangeSet, want []netip.Addr) (string, string) {
	t.Helper()
	got, err := hostLocalError(dir, command, o, ranges, want)
	if msg, ok := as[refusal](err); ok {
		return "", string(msg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return got, ""
}

func hostLocalError(dir, command string, o Owner, ranges []RangeSet, want []netip.Addr) (string, error) {
	type jsonRange struct {
		Subnet     string `json:"subnet"`
		RangeStart string `json:"rangeStart"`
		RangeEnd   string `json:"rangeEnd"`
		Gateway    string `json:"gateway"`
	}
	var jsonSets [][]jsonRange
	for _, set := range ranges {
		var rs []jsonRange
		for _, r := range set {
			rs = append(rs, jsonRange{r.Subnet.String(), r.Start.String(), r.End.String(), r.Gateway.String()})
		}
		jsonSets = append(jsonSets, rs)
	}
	conf, err := json.Marshal(map[string]any{
		"cniVersion": "1.0.0", "name": "net", "type": "x",
		"ipam": map[string]any{"type": "host-local", "dataDir": dir, "ranges": jsonSets},
		"args": map[string]any{"cni": map[string]any{"ips": want}},
	})
	if err != nil {
		return "", err
	}
	cmd := exec.Command(os.Getenv(hostLocalVar))
	cmd.Env = []string{"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + o.ContainerID, "CNI_IFNAME=" + o.IfName, "CNI_NETNS=/x", "CNI_PATH=/x"}
	cmd.Stdin = strings.NewReader(string(conf))
	out, err := cmd.Output()
	var answer struct {
		IPs []struct{ Address netip.Prefix }
		Msg string
	}
	if len(out) > 0 {
		if err := json.Unmarshal(out, &answer); err != nil {
			return "", fmt.Errorf("host-local said %s: %w", out, err)
		}
	}
	if err != nil {
		if answer.Msg == "" {
			return "", fmt.Errorf("host-local: %w, %s", err, out)
		}
		return "", refusal(answer.Msg)
	}
	var got []string
	for _, ip := range answer.IPs {
		got = append(got, ip.Address.Addr().String())
	}
	return strings.Join(got, " "), nil
}

// TestLikeHostLocal runs the same random sequences here and there, in directories of their own, and
// compares answers, errors and all files. In a third directory both work by turns.
func TestLikeHostLocal(t *testing.T) {
	nstest.Full(t, "it needs the reference's host-local")
	rng := seeded(t)
	for _, conf := range []string{
		"10.0.0.0/29",
		"10.0.0.0/30,10.0.1.0/30,10.0.2.0/29",
		"10.0.0.0/28 2001:db8::/125",
		"2001:db8::/126 10.0.0.0/29,10.3.0.0/30 10.1.0.0/28",
	} {
		t.Run(conf, func(t *testing.T) {
			set := sets(t, conf)
			ours, theirs, mixed := t.TempDir(), t.TempDir(), t.TempDir()
			for i := range 40 {
				o := owner(fmt.Sprint("c", rng.IntN(12)))
				if rng.IntN(3) == 0 {
					release(t, ours, o)
					hostLocal(t, theirs, "DEL", o, set, nil)
					if rng.IntN(2) == 0 {
						release(t, mixed, o)
					} else {
						hostLocal(t, mixed, "DEL", o, set, nil)
					}
				} else {
					want := randomWant(rng, set, ours, o)
					addWith := func(dir string, reference bool) (got, msg string) {
						if reference {
							return hostLocal(t, dir, "ADD", o, set, want)
						}
						got, err := reserve(t, dir, Request{Owner: o, Sets: set, Want: want, Record: evidence, Alive: everybody})
						if err != nil {
							msg = err.Error()
							if n := strings.Index(msg, " ("); n >= 0 { // what ExhaustedError adds
								msg = msg[:n]
							}
						}
						return got, msg
					}
					got, msg := addWith(ours, false)
					if got2, msg2 := addWith(theirs, true); got2 != got || msg2 != msg {
						t.Fatalf("step %d, ADD %v %v: %q %q here, %q %q there", i, o, want, got, msg, got2, msg2)
					}
					if got3, msg3 := addWith(mixed, rng.IntN(2) == 0); got3 != got || msg3 != msg {
						t.Fatalf("step %d, ADD %v %v: %q %q alone, %q %q by turns", i, o, want, got, msg, got3, msg3)
					}
				}
				a, b, c := contents(t, ours), contents(t, theirs), contents(t, mixed)
				if a != b || a != c {
					t.Fatalf("step %d, %v: the directory holds\n%sthere\n%sby turns\n%s", i, o, a, b, c)
				}
			}
			check(t, ours)
			check(t, mixed)
		})
	}
}

// randomWant asks for an address now and then, never where the reference would give a second one or
// would free what the owner has.
func randomWant(rng *rand.Rand, set []RangeSet, dir string, o Owner) []netip.Addr {
	if rng.IntN(4) != 0 {
		return nil
	}
	s, err := Open(context.Background(), dir, "net")
	if err != nil {
		return nil
	}
	defer s.Close()
	if _, ok, _ := s.Lookup(o); ok {
		return nil
	}
	r := set[rng.IntN(len(set))]
	a := r[rng.IntN(len(r))].Start
	for range rng.IntN(4) {
		a = a.Next()
	}
	return []netip.Addr{a}
}

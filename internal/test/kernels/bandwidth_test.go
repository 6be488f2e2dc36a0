// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"encoding/json"
	"strings"
	"testing"
)

// bandwidth needs five modules. Where one is missing, ADD names it and leaves nothing; where all
// are there, packets pass the shapers.
func TestBandwidthModules(t *testing.T) {
	t.Parallel()
	files := plugin(t)
	for _, name := range []string{"ptp", "bandwidth"} {
		files["plugins/"+name] = files["plugins/bridge"]
	}
	files["bin/shaped"], files["bin/inside"] = "testdata/shaped", "testdata/inside"
	// All are hidden, and then come one by one in the order in which ADD meets them: the kernel
	// loads at once what it finds.
	steps := []step{
		{"container", "ip netns add c1 && ip link set lo up", succeeds},
		{"hide", "for m in ifb sch_tbf sch_ingress cls_u32 act_mirred; do f=$(find /lib/modules -name $m.ko) && mv $f $f.away || exit; done", succeeds},
	}
	for _, m := range []struct{ module, named string }{
		{"ifb", "CONFIG_IFB"}, {"sch_tbf", "CONFIG_NET_SCH_TBF"}, {"sch_ingress", "CONFIG_NET_SCH_INGRESS"},
		{"cls_u32", "CONFIG_NET_CLS_U32"}, {"act_mirred", "CONFIG_NET_ACT_MIRRED"},
	} {
		steps = append(steps,
			step{"add_without_" + m.module, "shaped ADD c1", lacks(m.named)},
			step{"nothing_left_without_" + m.module, "ip -brief link | grep bwp; tc qdisc | grep -E 'tbf|ingress'", prints0},
			step{"show_" + m.module, "f=$(find /lib/modules -name " + m.module + ".ko.away) && mv $f ${f%.away}", succeeds})
	}
	boot(t, Bookworm.Kernel, files, append(steps, []step{
		{"add", "shaped ADD c1", succeeds},
		{"check", "shaped CHECK c1", prints("")},
		{"reaches_the_gateway", "inside c1 ping -c3 -W60 10.7.0.1", succeeds},
		{"shaped_both_ways", "for l in $(ip -brief link | grep -oE '^(veth|bwp)[0-9a-f]*'); do tc -s qdisc show dev $l root; done | grep -c 'Sent [1-9]'", prints("2")},
		{"del", "shaped DEL c1", prints("")},
		// The module makes two links of its own as it's loaded.
		{"nothing_left", "ip -brief link | grep -vE '^(lo|ifb[01]) '", prints0},
	}...))
}

// lacks is the check of an ADD that must fail and name an option of the kernel.
func lacks(option string) func(t *testing.T, r Result) {
	return func(t *testing.T, r Result) {
		t.Helper()
		fails(t, r)
		var answer struct{ Msg string }
		if err := json.Unmarshal([]byte(r.Output), &answer); err != nil {
			t.Fatalf("no error in CNI's form: %v", err)
		}
		if !strings.Contains(answer.Msg, "the kernel lacks") || !strings.Contains(answer.Msg, option) {
			t.Errorf("the error doesn't name %s", option)
		}
	}
}

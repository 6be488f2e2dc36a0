// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"testing"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/nft"
)

// withChain has one address, one port, and firewall behind portmap.
const withChain = `"isGateway": true, "ipMasq": true,
  "ipam": { "type": "host-local", "subnet": "10.9.0.0/24", "rangeStart": "10.9.0.2", "rangeEnd": "10.9.0.2", "dataDir": "DIR" },
  "runtimeConfig": { "portMappings": [ { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" } ] },
  "chain": [ { "type": "portmap" }, { "type": "firewall", "backend": "nftables" } ]`

// inRuleset counts what portmap and firewall have of a network.
func inRuleset(t *testing.T, network string) (ports, openings int) {
	t.Helper()
	conn, err := nft.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, err := range conn.Published(network) {
		if err != nil {
			t.Fatal(err)
		}
		ports++
	}
	for _, err := range conn.Allowed(network) {
		if err != nil {
			t.Fatal(err)
		}
		openings++
	}
	return ports, openings
}

func chainedNetwork(t *testing.T) *Network {
	t.Helper()
	t.Cleanup(func() { nstest.Run(t, "", "nft", "flush", "ruleset") })
	return network(t, withChain)
}

// An embedder's calls run the chain as the plugin does.
func TestChainOfAnEmbedder(t *testing.T) {
	n := chainedNetwork(t)
	a := attachment(t, "c1")
	for name, attach := range map[string]func() (*Result, error){
		"Attach": func() (*Result, error) { return Attach(t.Context(), n, a) },
		"AttachAll": func() (*Result, error) {
			o := AttachAll(t.Context(), n, []Attachment{a})[0]
			return o.Result, o.Err
		},
	} {
		res, err := attach()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if ports, openings := inRuleset(t, n.conf.Name); ports != 1 || openings != 1 {
			t.Errorf("%s: %d ports, %d openings, want one of each", name, ports, openings)
		}
		if err := Check(t.Context(), n, a, res); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := Detach(t.Context(), n, a); err != nil {
			t.Fatal(err)
		}
		if ports, openings := inRuleset(t, n.conf.Name); ports != 0 || openings != 0 {
			t.Errorf("after %s and Detach: %d ports, %d openings", name, ports, openings)
		}
	}
}

// Who gets a dead attachment's address doesn't get its ports and its way through the firewall.
func TestReclaimEndsChainedElements(t *testing.T) {
	n := chainedNetwork(t)
	dead, next := attachment(t, "dead"), attachment(t, "next")
	if _, err := Attach(t.Context(), n, dead); err != nil {
		t.Fatal(err)
	}
	removeLink(t, names.Of(n.conf.Name, dead.ContainerID, dead.IfName, 0).Link)
	plain := *n
	plain.members = nil
	if _, err := Attach(t.Context(), &plain, next); err != nil {
		t.Fatal(err)
	}
	if ports, openings := inRuleset(t, n.conf.Name); ports != 0 || openings != 0 {
		t.Errorf("of the dead attachment %d ports and %d openings are left", ports, openings)
	}
	if err := Detach(t.Context(), &plain, next); err != nil {
		t.Fatal(err)
	}
}

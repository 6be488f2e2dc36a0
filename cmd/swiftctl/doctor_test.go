// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// Rules that others make, as they make them.
const (
	dockerRules = `iptables -N DOCKER; iptables -N DOCKER-USER; iptables -N DOCKER-ISOLATION-STAGE-1; iptables -N DOCKER-ISOLATION-STAGE-2
		iptables -A DOCKER-USER -j RETURN; iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2; iptables -A DOCKER-ISOLATION-STAGE-1 -j RETURN
		iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP; iptables -A DOCKER-ISOLATION-STAGE-2 -j RETURN
		iptables -I FORWARD -o docker0 -j DOCKER; iptables -I FORWARD -i docker0 ! -o docker0 -j ACCEPT; iptables -I FORWARD -i docker0 -o docker0 -j ACCEPT
		iptables -I FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; iptables -I FORWARD -j DOCKER-ISOLATION-STAGE-1; iptables -I FORWARD -j DOCKER-USER
		iptables -t nat -N DOCKER; iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER; iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
		iptables -t nat -A DOCKER -i docker0 -j RETURN; iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:8080`
	kubeRules = `for c in KUBE-SERVICES KUBE-NODEPORTS KUBE-SVC-A KUBE-SEP-A KUBE-MARK-MASQ KUBE-EXT-A; do iptables -t nat -N $c; done
		iptables -N KUBE-FORWARD; iptables -N KUBE-FIREWALL; iptables -N KUBE-EXTERNAL-SERVICES; iptables -N KUBE-PROXY-FIREWALL
		iptables -I FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD; iptables -I FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
		iptables -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP; iptables -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
		iptables -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
		iptables -A KUBE-EXTERNAL-SERVICES -d 10.96.0.11/32 -p tcp --dport 8080 -j REJECT
		iptables -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP; iptables -I INPUT -j KUBE-FIREWALL
		iptables -t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000; iptables -t nat -A PREROUTING -j KUBE-SERVICES
		iptables -t nat -A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 8080 -j KUBE-SVC-A; iptables -t nat -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
		iptables -t nat -A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j KUBE-EXT-A; iptables -t nat -A KUBE-EXT-A -j KUBE-SVC-A
		iptables -t nat -A KUBE-SVC-A ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp --dport 8080 -j KUBE-MARK-MASQ
		iptables -t nat -A KUBE-SVC-A -m statistic --mode random --probability 0.5 -j KUBE-SEP-A; iptables -t nat -A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 10.244.0.5:80
		nft 'table ip kube-proxy { map nps { type inet_proto . inet_service : verdict; elements = { tcp . 30081 : goto svc }; }; map ips { type ipv4_addr . inet_proto . inet_service : verdict; elements = { 10.96.0.10 . tcp . 8080 : goto svc }; }
			chain svc { meta l4proto tcp dnat to 10.244.0.5:80; }; chain services { ip daddr . meta l4proto . th dport vmap @ips; fib daddr type local meta l4proto . th dport vmap @nps; }
			chain nat-prerouting { type nat hook prerouting priority -100; jump services; }; chain filter-forward { type filter hook forward priority -110; ct state new jump firewall; }; chain firewall { ip daddr 10.96.0.12 drop; }; }'`
	podmanRules = `nft 'table inet netavark { chain INPUT { type filter hook input priority 0; }; chain NETAVARK-ISOLATION-1 { }; chain nv_10_88 { ip daddr 10.88.0.0/16 accept; ip daddr != 224.0.0.0/4 masquerade; }
		chain FORWARD { type filter hook forward priority 0; ct state invalid drop; jump NETAVARK-ISOLATION-1; ip daddr 10.88.0.0/16 ct state established,related accept; ip saddr 10.88.0.0/16 accept; }
		chain NETAVARK-HOSTPORT-DNAT { tcp dport 8082 dnat ip to 10.88.0.2:80; }; chain PREROUTING { type nat hook prerouting priority -100; fib daddr type local jump NETAVARK-HOSTPORT-DNAT; }
		chain POSTROUTING { type nat hook postrouting priority 100; ip saddr 10.88.0.0/16 jump nv_10_88; }; }'`
)

// TestDoctor makes faults by the real programs on a host of its own, has doctor find them, and runs
// its remedies.
func TestDoctor(t *testing.T) {
	nstest.Full(t, "it takes long")
	host, err := filepath.Abs("testdata/doctor/host.sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"a rule is gone": `iptables -D FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD; iptables -P FORWARD DROP
			cut sends; finds missing-jump port-closed; mends; sends; answers`,
		"rules are flushed":               `iptables -F; ip6tables -F; finds missing-jump; mends; content; iptables -P FORWARD DROP; ip6tables -P FORWARD DROP; sends; mends; answers`,
		"the administrator's chain drops": `iptables -A CNI-ADMIN -p tcp --dport 9090 -j DROP; cut sends; content "it's the administrator's"`,
		"ufw":                             `ufw --force enable >/dev/null; sends; cut answers; finds port-closed; mends; answers; ufw reload >/dev/null; sends; answers`,
		"a policy stops ports":            `iptables -P FORWARD DROP; sends; cut answers; finds port-closed; mends; answers`,
		"no firewall plugin": `attach bare c2; sends c2; iptables -P FORWARD DROP; iptables -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT
			cut sends c2; finds barrier; mends; sends c2`,
		"a table of nft": `nft 'table inet own { chain forward { type filter hook forward priority 0; policy drop; }; }'
			cut sends; cut answers; finds barrier port-closed; mends; sends; answers`,
		"iptables-legacy": `iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP; cut sends; cut answers; finds legacy-drop port-closed
			attach net c2 2>/run/warned; grep -q "^swiftcni: firewall: chain FORWARD of iptables-legacy filter drops packets from 10.9.0.3" /run/warned; mends; sends; answers`,
		"legacy rules": `iptables-legacy -t nat -N CNI-DN-0123456789abcdef01234; iptables-legacy -t nat -A PREROUTING -p tcp --dport 99 -j CNI-DN-0123456789abcdef01234
			iptables-legacy -t nat -A CNI-DN-0123456789abcdef01234 -p tcp -j DNAT --to-destination 10.9.0.9:80; finds legacy-rules; mends
			! iptables-legacy-save -t nat | grep CNI-DN`,
		"legacy rules of the living": `name=CNI-DN-$(printf netc1 | sha512sum | head -c 21); iptables-legacy -t nat -N $name; content "its container lives"
			swiftctl adopt -n --data-dir /run/leases >/run/adopted; grep -q "$name" /run/adopted; grep -q "of net/c1/eth0, so once it's gone" /run/adopted
			iptables-legacy -t nat -N CNI-DN-0123456789abcdef01234; ! swiftctl adopt -n --data-dir /run/leases >/run/adopted 2>&1; grep -q "of no container with a lease here" /run/adopted
			sh -e -c "$(grep -A2 CNI-DN-0123 /run/adopted | sed -n 's/.*removed by: //p')"; swiftctl adopt -n --data-dir /run/leases >/run/adopted; ! grep CNI-DN-0123 /run/adopted
			swiftctl install --binary $(command -v swiftcni) /run/plugins 2>&1 | grep -q "chain iptables-legacy nat $name and others"`,
		"ptp's route": `attach ptp c2; sends c2; content "with ptp"; ip route del 10.9.2.2; cut sends c2; finds missing-route; mends; sends c2; ip route show scope host | grep -q "^10.9.2.2 "
			ip route del 10.9.2.2; swiftctl sync; sends c2; ip route show scope host | grep -q "^10.9.2.2 "`,
		"ptp's route beside a link that's down": `attach ptp c2; attach ptp c3; set -- $(ip route show 10.9.2.2); link=$3; ip link set "$link" down; ip route del 10.9.2.3
			cut sends c3; ! swiftctl sync; sends c3; ip link set "$link" up; swiftctl sync; sends c2`,
		"a dormant table": `nft add table inet swiftcni '{ flags dormant; }'; cut answers; finds dormant-table; mends; answers`,
		"chains of an earlier version": `for i in $(seq 30); do n=masq4-10.50.$i.0/24; echo "add set inet swiftcni $n { type ipv4_addr; }
			add chain inet swiftcni $n { type nat hook postrouting priority 100; }
			add rule inet swiftcni $n ip saddr @$n ip daddr != 10.50.$i.0/24 ip daddr != 224.0.0.0/4 masquerade"; done >/run/old.nft; nft -f /run/old.nft; finds many-chains; mends; sends; answers`,
		"another's port":        `iptables -t nat -I PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 10.9.0.77:80; finds port-conflict; mends; answers`,
		"a program's port":      `busybox httpd -p 8080 -h /run/www; finds port-conflict; mends; answers`,
		"our rules are flushed": `iptables -P FORWARD DROP; nft flush chain inet swiftcni firewall-in; cut sends; finds check port-closed; mends; sends; answers`,
		"our chains are emptied": `nft flush chain inet swiftcni ports; cut answers; finds check; mends; sends; answers
			nft flush table inet swiftcni; cut answers; finds check; mends; sends; answers
			nft insert rule inet swiftcni ports accept; cut answers; finds check; mends; sends; answers`,
		"firewalld":                 `firewalld_starts; cut sends; answers; finds firewalld; mends; sends; answers; for i in $(seq 10); do firewall-cmd --reload >/dev/null && break; done; sends; answers`,
		"firewalld reloads":         `firewalld_starts; attach net c2; sends c2; for i in $(seq 10); do firewall-cmd --reload >/dev/null && break; done; cut sends c2; finds firewalld; mends; sends c2`,
		"firewalld beside a policy": `firewalld_starts; attach net c2; sends c2; iptables -P FORWARD DROP; cut sends c2; mends; mends; sends c2; answers`,
		"an uplink without its router": `ip -6 route del default; router_starts; until ip -6 route | grep -q "^default .* up0"; do sleep 0.1; done; content "with a router"
			sysctl -qw net.ipv6.conf.all.forwarding=0 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.up0.accept_ra=1
			ip -6 route del default || :; finds no-router; mends; until ip -6 route | grep -q "^default .* up0"; do sleep 0.1; done; sends`,
		"a version without CHECK": `sed 's/1.1.0/0.3.1/; /firewall/d; s/"portMappings": true } },/"portMappings": true } } ] }/; s/"net"/"old"/; s/cni0/old0/; s/10.9.0/10.9.3/; s/fd00:9:/fd00:9:3:/' /run/conf/net.conflist >/run/conf/old.conflist
			attach old c2 '[{"hostPort":8083,"containerPort":80,"protocol":"tcp"}]'; sends c2; content "version 0.3.1"`,
		"healthy beside docker":     dockerRules + `; sends; answers; content "with docker"; iptables -P FORWARD DROP; sends; finds port-closed; mends; answers`,
		"healthy beside kube-proxy": kubeRules + `; sends; answers; content "with kube-proxy"`,
		"healthy beside podman":     podmanRules + `; sends; answers; content "with podman"; keeper_listens; content "conmon holds the port"`,
		"healthy with an nftables firewall": `nft 'table inet filter { chain input { type filter hook input priority 0; policy drop; ct state established,related accept; iif lo accept; ip saddr 192.0.2.0/24 accept; meta l4proto ipv6-icmp accept; }
			chain forward { type filter hook forward priority 0; policy drop; ct state vmap { established : accept, related : accept, invalid : drop }; ct status dnat accept; iifname "cni0" accept; }; }'
			sends; answers; content "with nftables"`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "case.sh")
			text := ". " + host + "\n" + script + "\ncontent 'when all is mended'\n"
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("unshare", "-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-e", path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, strings.TrimSpace(string(out)))
			}
		})
	}
}

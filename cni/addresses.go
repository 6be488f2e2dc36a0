// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"net/netip"
	"os"
	"slices"

	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/ipam"
)

// wanted joins the requested addresses of the configuration with the attachment's own.
func (n *Network) wanted(a Attachment) []netip.Addr {
	var want []netip.Addr
	for _, from := range [][]netip.Addr{n.ipam.runtime.addrs, n.ipam.args.addrs, a.Addrs} {
		for _, addr := range from {
			if addr = addr.Unmap(); !slices.Contains(want, addr) {
				want = append(want, addr)
			}
		}
	}
	return want
}

// localResult puts leases into the form of an IPAM plugin's result.
func (n *Network) localResult(leases []ipam.Lease, dns DNS) *Result {
	res := &Result{CNIVersion: n.cniVersion, Routes: n.ipam.routes, DNS: dns}
	for _, l := range leases {
		res.IPs = append(res.IPs, IP{Address: l.Prefix, Gateway: l.Gateway, Interface: NoInterface})
	}
	return res
}

// readResolvConf reads the file that key resolvConf names.
func (k *ipamKeys) readResolvConf() (DNS, error) {
	if k.resolvConf == "" {
		return DNS{}, nil
	}
	text, err := os.ReadFile(k.resolvConf)
	if err != nil {
		return DNS{}, &Error{Code: CodeInvalidNetwork, Msg: err.Error(), Details: "ipam.resolvConf", Key: "ipam.resolvConf", Err: err}
	}
	d, err := ipam.ParseResolvConf(text)
	return DNS{Nameservers: d.Nameservers, Domain: d.Domain, Search: d.Search, Options: d.Options}, err
}

// ipamError gives the store's errors their codes.
func ipamError(err error) error {
	var exhausted *ipam.ExhaustedError
	if errors.As(err, &exhausted) {
		return &Error{Code: CodeExhausted, Msg: err.Error(), Key: "ipam", Err: err}
	}
	var duplicate *ipam.DuplicateError
	if errors.As(err, &duplicate) {
		return &Error{Code: CodeAttached, Msg: err.Error(), Err: err}
	}
	var taken *ipam.TakenError
	if errors.As(err, &taken) {
		return &Error{Code: CodeAttached, Msg: err.Error(), Err: err}
	}
	return &Error{Code: CodeInternal, Msg: err.Error(), Err: err}
}

// checkDelegated refuses what a delegate may not answer, before the kernel would do so halfway.
func (n *Network) checkDelegated(res *Result) error {
	four := 0
	for _, ip := range res.IPs {
		if ip.Address.Addr().Is4() {
			four++
		}
	}
	if n.version().Form() == specversion.Legacy && (four > 1 || len(res.IPs)-four > 1) {
		return onePerFamily(n.cniVersion)
	}
	return nil
}

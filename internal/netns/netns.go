// SPDX-License-Identifier: Apache-2.0

// Package netns opens containers' network namespaces.
package netns

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// Open opens the container's namespace. The descriptor that was checked here is the one that is
// used.
func Open(a spec.Attachment, host rtnl.NetNSID) (*rtnl.NetNS, error) {
	ns, err := Enter(a, host)
	if e, ok := err.(*spec.Error); ok && e.Code == spec.CodeInvalidEnvironment {
		err = fault.During("failed to open netns "+strconv.Quote(a.NetNS), e)
	}
	return ns, err
}

// Enter is Open with the error texts of those plugins that only look into the namespace.
func Enter(a spec.Attachment, host rtnl.NetNSID) (*rtnl.NetNS, error) {
	ns, err := rtnl.OpenNetNS(a.NetNS)
	if err != nil {
		return nil, &spec.Error{Code: spec.CodeInvalidEnvironment, Msg: err.Error(), Key: "CNI_NETNS", Err: err}
	}
	if ns.ID() == host && !a.SharedNetNS {
		ns.Close()
		return nil, errSameNetNS()
	}
	return ns, nil
}

// Gone reports whether Open has found that the namespace doesn't exist any more, so that DEL has
// nothing to do in it. Any other error of Open may pass.
func Gone(err error) bool {
	var file *rtnl.NotNetNSError
	var link *rtnl.SymlinkError
	return fault.Absent(err) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOTDIR) || errors.As(err, &file) || errors.As(err, &link)
}

func errSameNetNS() error {
	return &spec.Error{Code: spec.CodeInvalidNetNS, Msg: "plugin's netns and netns from CNI_NETNS should not be the same", Key: "CNI_NETNS",
		Details: "the container has no network namespace of its own"}
}

// RefuseOwn refuses a namespace that is the caller's own. One that can't be opened is left to
// another plugin.
func RefuseOwn(c *process.Call, a spec.Attachment) error {
	host, err := c.NetNS()
	if err != nil {
		return fault.Wrap("identify the host's network namespace", err)
	}
	ns, err := Open(a, host)
	if err == nil {
		ns.Close()
	}
	var e *spec.Error
	if errors.As(err, &e) && e.Code == spec.CodeInvalidNetNS {
		return e
	}
	return nil
}

// OpenOther opens the container's namespace, which must not be the caller's own.
func OpenOther(c *process.Call, a spec.Attachment) (*rtnl.NetNS, error) {
	host, err := c.NetNS()
	if err != nil {
		return nil, fault.Wrap("identify the host's network namespace", err)
	}
	return Enter(a, host)
}

// lockTime is far longer than a call keeps a namespace locked, but for one that looks for duplicates
// of IPv6 addresses.
const lockTime = 2 * time.Second

// Lock locks the container's namespace against other calls for it, until that is closed. Anybody in
// the container can lock it as well, and needs no right for that. So no call waits for longer than
// lockTime: then it goes on without.
func Lock(ctx context.Context, ns *rtnl.NetNS) error {
	bounded, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	err := ns.Lock(bounded)
	if err != nil && err == bounded.Err() && ctx.Err() == nil {
		return nil
	}
	return err
}

// SPDX-License-Identifier: Apache-2.0

// Package verbs is what the door and the rooms of plugins agree on. A room reads its plugin's keys once, and its verbs work
// on them.
package verbs

import (
	"context"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/nft"
)

// A Plugin is a plugin's keys as they were read, with its verbs.
type Plugin interface {
	// Wrong is the first of the keys that's wrong, or nil. The zero Attachment stands for any.
	Wrong(a spec.Attachment) *spec.Error
	Add(ctx context.Context, c *Call, a spec.Attachment) (*spec.Result, error)
	// Del works with what could be read of keys that are wrong.
	Del(ctx context.Context, c *Call, a spec.Attachment) error
	Check(ctx context.Context, c *Call, a spec.Attachment) error
	// GC removes what isn't of valid attachments. nil is no list: then what is provably dead goes.
	GC(ctx context.Context, c *Call, valid []spec.Attachment) error
	Status(ctx context.Context, c *Call) error
}

// A Call is what a plugin is told of its network beside its own keys, and the result of the plugin before it.
type Call struct {
	Network    string // its name
	CNIVersion string
	LeaseDir   string // where its addresses' leases are, if host-local gives them

	Prev     *spec.Result // nil: there's none, or it can't be read
	PrevText []byte       // as it came; nil where it never was a text
	PrevErr  *spec.Error  // why it can't be read
}

// Owner is an attachment as the ruleset names it.
func (c *Call) Owner(a spec.Attachment) nft.Owner {
	return names.RulesOwner(c.Network, names.Lessee(a))
}

// Owners are attachments as the ruleset names them.
func (c *Call) Owners(list []spec.Attachment) []nft.Owner { return names.RulesOwners(c.Network, list) }

// CheckFollows says what is wrong with what a plugin is given that follows another: wrong is what's wrong with its keys,
// and missing what it says of a result that isn't there.
func (c *Call) CheckFollows(wrong *spec.Error, missing string) error {
	switch {
	case c.PrevErr != nil:
		return c.PrevErr
	case wrong != nil:
		return wrong
	case c.Prev == nil:
		return fault.Expected("prevResult", missing, "the result of the plugin before")
	}
	return nil
}

// PassOn is the previous plugin's result, in the configuration's version: that very one where it has that, and says so.
func (c *Call) PassOn() *spec.Result {
	if c.Prev.CNIVersion == c.CNIVersion && hasVersion(c.PrevText) {
		return c.Prev
	}
	return result.In(c.Prev, c.CNIVersion)
}

// hasVersion reports whether a result says its version itself.
func hasVersion(text []byte) bool {
	has := false
	r := jsontext.NewReader(text, "")
	_ = r.Object(func(key string) error {
		has = has || key == "cniversion"
		return nil
	})
	return has
}

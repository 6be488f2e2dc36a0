// SPDX-License-Identifier: Apache-2.0

// Package verbs is the agreement between the door and the rooms of plugins. A room reads its
// plugin's keys once, and its verbs work on them.
package verbs

import (
	"context"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/nft"
)

// A Plugin is a plugin's keys as they were read, with its verbs.
type Plugin interface {
	// Wrong is the first key that is wrong, or nil. The zero Attachment stands for any.
	Wrong(a spec.Attachment) *spec.Error
	Add(ctx context.Context, c *Call, a spec.Attachment) (*spec.Result, error)
	// Del works with the keys that could be read.
	Del(ctx context.Context, c *Call, a spec.Attachment) error
	Check(ctx context.Context, c *Call, a spec.Attachment) error
	// GC removes everything but the valid attachments, of which there may be none.
	GC(ctx context.Context, c *Call, valid []spec.Attachment) error
	// Reclaim removes attachments that are provably dead.
	Reclaim(ctx context.Context, c *Call) error
	Status(ctx context.Context, c *Call) error
}

// A Crowd is a plugin that attaches many at once.
type Crowd interface {
	// AddAll is Add for each of a list. Results and errors are in its order.
	AddAll(ctx context.Context, c *Call, list []spec.Attachment) ([]*spec.Result, []error)
}

// An Explainer is a plugin that can tell what Add would do now.
type Explainer interface {
	// Explain tells one change a line, and changes nothing.
	Explain(a spec.Attachment) (string, error)
}

// A Teller is a plugin whose keys mean something for the host.
type Teller interface {
	// Tell adds that to what is known of the plugin.
	Tell(f *facts.Plugin)
}

// A Call is a plugin's knowledge of its network, beside its own keys, and the result of the plugin
// before it.
type Call struct {
	Network    string // its name
	CNIVersion string
	LeaseDir   string // where its addresses' leases are, if host-local gives them

	Prev     *spec.Result // nil: there is none, or it can't be read
	PrevText []byte       // as it came; nil if it never was a text
	PrevErr  *spec.Error  // why it can't be read
}

// Owner is an attachment in the form that the ruleset uses.
func (c *Call) Owner(a spec.Attachment) nft.Owner {
	return names.RulesOwner(c.Network, names.Lessee(a))
}

// Owners are attachments in the form that the ruleset uses.
func (c *Call) Owners(list []spec.Attachment) []nft.Owner { return names.RulesOwners(c.Network, list) }

// CheckFollows returns the first error for a plugin that follows another. wrong is the first wrong
// key, and missing is the text for a missing result.
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

// PassOn is the previous plugin's result, in the configuration's version. It's the very same result
// if that has this version, and says so.
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

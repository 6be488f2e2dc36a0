// SPDX-License-Identifier: Apache-2.0

package nft

// CheckPublication reports whether a publication, and the rules that its elements are for, are in
// the ruleset as Publish made them. Errors: *MissingError for the first that is missing or
// different.
func (c *Conn) CheckPublication(p Publication) error {
	if err := p.check(); err != nil {
		return err
	}
	es := p.elements()
	// Between two questions another attachment may have left its ports to this one, whose elements were
	// then at neither place.
	return c.steadily(func() (uint32, error) { return c.checkElements(&p, es) })
}

// checkElements looks once. The generation is the one before that.
func (c *Conn) checkElements(p *Publication, es []element) (generation uint32, _ error) {
	found, generation, err := c.lookUp(es)
	if err != nil || len(es) == 0 {
		return generation, err
	}
	for _, f := range dense(found) {
		if v, ok := f.published(); ok && v.old && f.owner() == p.Owner.comment() {
			return generation, nil // the elements of an earlier version count until they are taken over
		}
	}
	ask, waits := p.held(es, found)
	for i, f := range found {
		e := es[i]
		missing := &MissingError{Owner: p.Owner, What: "element " + e.set.table.String() + " " + e.set.name + " " + e.keyText()}
		switch {
		case waits[e.id()]: // a mark is the other's, and may be another bit
			continue
		case f == nil:
			return generation, missing
		case sameElement(f, e):
			continue
		}
		missing.Found = f.String()
		return generation, missing
	}
	if err := c.checkWaiting(p, ask); err != nil {
		return generation, err
	}
	return generation, c.checkPortRules(p)
}

// held returns the elements of mappings that wait because another attachment of the container has
// their ports, and the elements of that attachment.
func (p *Publication) held(es []element, found []*element) (waiting []element, theirs map[string]bool) {
	theirs = map[string]bool{}
	for i, f := range found {
		at, to, ok := es[i].mapping()
		if !ok || f == nil || f.owner() == es[i].owner() || !p.Owner.sameContainer(f.owner()) {
			continue
		}
		marked := at.snat(p.bit())
		theirs[es[i].id()], theirs[marked.id()] = true, true
		waiting = append(waiting, at.standby(to))
	}
	return waiting, theirs
}

// sameElement compares a found element with the one that should be there. Others that wait don't
// matter, and a note may be missing.
func sameElement(f *element, e element) bool {
	keepAwaited(&e, *f)
	if is, ok := f.published(); ok && is.note == "" {
		v, _ := e.published()
		v.note = ""
		e = v.element(e.owner())
	}
	return f.comment == e.comment && string(f.data) == string(e.data)
}

// checkWaiting looks for the mappings whose ports another attachment of the container has.
func (c *Conn) checkWaiting(p *Publication, es []element) error {
	if len(es) == 0 {
		return nil
	}
	found, _, err := c.lookUp(es)
	for i, f := range found {
		if err == nil && (f == nil || f.owner() != p.Owner.comment()) {
			err = &MissingError{Owner: p.Owner, What: "element " + es[i].set.table.String() + " " + es[i].set.name + " " + es[i].keyText()}
		}
	}
	return err
}

func (c *Conn) checkPortRules(p *Publication) error {
	s, err := c.survey()
	if err != nil {
		return err
	}
	for _, want := range append(p.needs().conditions, portChains(s.sets)...) {
		what, err := c.portChainDiffers(want, s.sets)
		if err != nil {
			return err
		}
		if what != "" {
			return &MissingError{Owner: p.Owner, What: what + " " + masqueradeTable.String() + " " + want.name}
		}
	}
	return nil
}

// portChainDiffers is differs, except that the former chain of masquerade counts until it's moved.
func (c *Conn) portChainDiffers(want chain, sets []set) (what string, err error) {
	what, err = c.differs(want)
	if what != "" && want.name == masqPorts {
		if former, err := c.differs(formerChain(sets)); err != nil || former == "" {
			return "", err
		}
	}
	return what, err
}

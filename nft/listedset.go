// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// listedSet is another program's set or map, as it was listed.
type listedSet struct {
	name     string
	keyLen   int
	verdicts bool // its values are verdicts
	exact    bool // no intervals
	listed   bool
	elements []listedElement
}

type listedElement struct {
	key  []byte
	data []byte // NFTA_SET_ELEM_DATA
}

func (f *Filters) addSet(family byte, data []byte) {
	t := table{family, textOf(data, unix.NFTA_SET_TABLE)}
	flags := numberOf(data, unix.NFTA_SET_FLAGS)
	s := &listedSet{name: textOf(data, unix.NFTA_SET_NAME), keyLen: int(numberOf(data, unix.NFTA_SET_KEY_LEN)), exact: flags&unix.NFT_SET_INTERVAL == 0}
	const verdictType = 0xffffff00 // NFT_DATA_VERDICT
	s.verdicts = flags&unix.NFT_SET_MAP != 0 && numberOf(data, unix.NFTA_SET_DATA_TYPE) == verdictType
	if f.sets[t] == nil {
		f.sets[t] = map[string]*listedSet{}
	}
	f.sets[t][s.name] = s
}

// read lists the elements.
func (s *listedSet) read(c *Conn, t table) error {
	if t == masqueradeTable || !s.exact || s.listed {
		return nil
	}
	s.listed = true
	err := c.dump(listElements(set{table: t, name: s.name}), func(data []byte) error {
		list, err := attribute(data, unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for as := (attributes{rest: list}); as.next(); {
			key, _ := attribute(as.value, unix.NFTA_SET_ELEM_KEY)
			value, _ := attribute(as.value, unix.NFTA_SET_ELEM_DATA)
			key, _ = attribute(key, unix.NFTA_DATA_VALUE)
			s.elements = append(s.elements, listedElement{bytes.Clone(key), bytes.Clone(value)})
		}
		return err
	})
	if hasErrno(err, unix.ENOENT) {
		return errChanged
	}
	return err
}

// find looks a key up. A set with intervals isn't looked into.
func (s *listedSet) find(key partly) (*listedElement, likelihood) {
	if !s.exact || s.keyLen == 0 {
		return nil, maybe
	}
	result := no
	for i, e := range s.elements {
		switch key.equals(e.key) {
		case yes:
			return &s.elements[i], yes
		case maybe:
			result = maybe
		}
	}
	return nil, result
}

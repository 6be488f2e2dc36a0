// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// describe says what a message asks for, for use in errors: "create element inet swiftcni masq4".
// It reads the message's own bytes, so that success pays nothing for it.
func describe(m netlink.Message) string {
	text := verb(m.Header.Type)
	if len(m.Data) < genMessageLen {
		return text
	}
	// In every kind of message the table is attribute 1. The object's name is attribute 2, or 3 for
	// a chain.
	nameKind := 2
	switch m.Header.Type {
	case messageType(unix.NFT_MSG_NEWTABLE), messageType(unix.NFT_MSG_GETGEN):
		nameKind = 0
	case messageType(unix.NFT_MSG_NEWCHAIN), messageType(unix.NFT_MSG_GETCHAIN), messageType(unix.NFT_MSG_DELCHAIN):
		nameKind = 3
	}
	var table, name string
	for as := (attributes{rest: m.Data[genMessageLen:]}); as.next(); {
		switch as.kind {
		case 1:
			table = " " + as.text()
		case nameKind:
			name = " " + as.text()
		}
	}
	return text + " " + familyName(m.Data[0]) + table + name
}

func verb(t netlink.HeaderType) string {
	switch t {
	case messageType(unix.NFT_MSG_NEWTABLE):
		return "create table"
	case messageType(unix.NFT_MSG_NEWCHAIN):
		return "create chain"
	case messageType(unix.NFT_MSG_GETCHAIN):
		return "get chain"
	case messageType(unix.NFT_MSG_DELCHAIN):
		return "delete chain"
	case messageType(unix.NFT_MSG_NEWRULE):
		return "create rule"
	case messageType(unix.NFT_MSG_GETRULE):
		return "list rules"
	case messageType(unix.NFT_MSG_DELRULE):
		return "delete rules"
	case messageType(unix.NFT_MSG_NEWSET):
		return "create set"
	case messageType(unix.NFT_MSG_GETSET):
		return "list sets"
	case messageType(unix.NFT_MSG_NEWSETELEM):
		return "create element"
	case messageType(unix.NFT_MSG_GETSETELEM):
		return "get element"
	case messageType(unix.NFT_MSG_DELSETELEM):
		return "delete element"
	case messageType(unix.NFT_MSG_GETGEN):
		return "get generation"
	}
	return fmt.Sprintf("message %#x", uint16(t))
}

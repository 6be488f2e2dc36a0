// SPDX-License-Identifier: Apache-2.0

// Package sctp makes the first packets of an association (RFC 9260). They're sent and received by raw
// sockets, so the kernel needn't speak SCTP: only its connection tracking does.
package sctp

import (
	"encoding/binary"
	"hash/crc32"
)

// Network4 and Network6 are the networks of package net by which the packets travel.
const (
	Network4 = "ip4:132"
	Network6 = "ip6:132"
)

// tag is what both sides ask the other one to put into its packets.
const tag = 7

// Init is the packet that begins an association.
func Init(from, to int) []byte { return packet(from, to, 0, 1) }

// InitAck answers it.
func InitAck(from, to int) []byte { return packet(from, to, tag, 2) }

// Ports are those of a packet.
func Ports(p []byte) (from, to int) {
	if len(p) < 4 {
		return 0, 0
	}
	return int(binary.BigEndian.Uint16(p)), int(binary.BigEndian.Uint16(p[2:]))
}

// packet has one chunk (3.3.2, 3.3.3).
func packet(from, to int, verification uint32, chunk byte) []byte {
	p := binary.BigEndian.AppendUint16(nil, uint16(from))
	p = binary.BigEndian.AppendUint16(p, uint16(to))
	p = binary.BigEndian.AppendUint32(p, verification)
	p = append(p, 0, 0, 0, 0) // checksum
	p = append(p, chunk, 0, 0, 20)
	p = binary.BigEndian.AppendUint32(p, tag)
	p = binary.BigEndian.AppendUint32(p, 1<<16) // window
	p = append(p, 0, 1, 0, 1)                   // streams out and in
	p = binary.BigEndian.AppendUint32(p, 1)     // first number
	binary.LittleEndian.PutUint32(p[8:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	return p
}

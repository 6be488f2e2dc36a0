// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
)

// AttachmentError says what is wrong with an attachment that an embedder fills in. The plugin's
// environment goes through the same rules.
func AttachmentError(a spec.Attachment) *spec.Error {
	if a.ContainerID == "" {
		return fault.Missing("CNI_CONTAINERID")
	}
	if err := ContainerIDError(a.ContainerID); err != nil {
		return err
	}
	return IfNameError(a.IfName)
}

// ContainerIDError says what is wrong with CNI_CONTAINERID.
func ContainerIDError(id string) *spec.Error {
	if ValidID(id) {
		return nil
	}
	return &spec.Error{Code: spec.CodeInvalidEnvironment, Msg: "invalid characters in containerID", Details: id, Key: "CNI_CONTAINERID"}
}

// IfNameError says what is wrong with CNI_IFNAME.
func IfNameError(name string) *spec.Error {
	problem := names.LinkProblem(name)
	if problem == "" {
		return nil
	}
	e := &spec.Error{Code: spec.CodeInvalidEnvironment, Msg: problem, Key: "CNI_IFNAME"}
	if len(name) > names.MaxLink {
		e.Details = "interface name should be less than 16 characters"
	}
	return e
}

// ValidID is [a-zA-Z0-9][a-zA-Z0-9_.-]*, the rule of container IDs and network names. Both become
// names of files, and neither can be "." or "..".
func ValidID(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alphanumeric := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alphanumeric && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return true
}

// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// config is what the daemon reads of a plugin's configuration.
type config struct {
	Name string
	IPAM struct {
		Provide []struct {
			Option, Value string
			FromArg       string
		}
		Request []struct {
			Option      string
			SkipDefault bool
		}
		Priority int
	}
}

// config returns what can be read of it with an error, too.
func (a *Args) config() (*config, error) {
	c := &config{}
	if err := json.Unmarshal(a.StdinData, c); err != nil {
		return c, fmt.Errorf("error parsing netconf: %w", err)
	}
	return c, nil
}

// optionNames are those of dhcp-options(5) that the reference knows.
var optionNames = map[string]dhcpv4.OptionCode{
	"dhcp-client-identifier":  dhcpv4.OptionClientIdentifier,
	"subnet-mask":             dhcpv4.OptionSubnetMask,
	"routers":                 dhcpv4.OptionRouter,
	"host-name":               dhcpv4.OptionHostName,
	"user-class":              dhcpv4.OptionUserClassInformation,
	"vendor-class-identifier": dhcpv4.OptionClassIdentifier,
}

func optionCode(name string) (dhcpv4.OptionCode, error) {
	if code, ok := optionNames[name]; ok {
		return code, nil
	}
	n, err := strconv.ParseUint(name, 10, 8)
	if err != nil {
		const problem = "Can not parse option" // the reference's words, twice
		return nil, fmt.Errorf("%s %q: %s: %w", problem, name, problem, err)
	}
	return dhcpv4.GenericOptionCode(n), nil
}

// maxOption is an option's length.
const maxOption = 255

// options are those of the client's messages, beside its own.
func (c *config) options(cniArgs string) (list []dhcpv4.Option, _ error) {
	args := map[string]string{}
	for pair := range strings.SplitSeq(cniArgs, ";") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			args[key] = value
		}
	}
	for _, p := range c.IPAM.Provide {
		code, err := optionCode(p.Option)
		if err != nil {
			return nil, err
		}
		value, given := args[p.FromArg]
		switch {
		case len(p.Value) > maxOption:
			return nil, fmt.Errorf("value too long for option %q: %q", p.Option, p.Value)
		case given && len(value) > maxOption:
			return nil, fmt.Errorf("value too long for option %q from CNI_ARGS %q: %q", p.Option, p.FromArg, value)
		case given:
			list = append(list, dhcpv4.Option{Code: code, Value: dhcpv4.String(value)})
		case p.Value != "":
			list = append(list, dhcpv4.Option{Code: code, Value: dhcpv4.String(p.Value)})
		}
	}
	wanted, err := c.wanted()
	if len(wanted) > 0 {
		list = append(list, dhcpv4.Option{Code: dhcpv4.OptionParameterRequestList, Value: wanted})
	}
	return list, err
}

// wanted are the options that a server is asked for.
func (c *config) wanted() (list dhcpv4.OptionCodeList, _ error) {
	def := true
	for _, r := range c.IPAM.Request {
		def = def && !r.SkipDefault
		if r.Option == "" {
			continue
		}
		code, err := optionCode(r.Option)
		if err != nil {
			return nil, err
		}
		list.Add(code)
	}
	if def {
		list.Add(dhcpv4.OptionRouter)
		list.Add(dhcpv4.OptionSubnetMask)
	}
	return list, nil
}

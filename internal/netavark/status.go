// SPDX-License-Identifier: Apache-2.0

package netavark

import (
	"io"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// A translator says an answer of the plugin in netavark's words. Package cni takes an attachment
// back whose result it can't write, so the translator writes through.
type translator struct {
	call *call
	to   io.Writer
}

func (t *translator) Write(answer []byte) (int, error) {
	text := failure(answer)
	if text == nil {
		var res cni.Result
		if err := res.UnmarshalJSON(answer); err != nil {
			return 0, err
		}
		text = t.call.status(&res)
	}
	if _, err := t.to.Write(text); err != nil {
		return 0, err
	}
	return len(answer), nil
}

// failure is the answer that says an error object, or nil for a result.
func failure(answer []byte) []byte {
	var code int
	var msg, details string
	r := jsontext.NewReader(answer, "")
	if r.Object(func(key string) error {
		switch key {
		case "code":
			return r.Integer(&code)
		case "msg":
			return r.Str(&msg)
		case "details":
			return r.Str(&details)
		}
		return nil
	}) != nil || code == 0 {
		return nil
	}
	return errorText(withDetails(msg, details))
}

// status is a StatusBlock of netavark's types.rs.
func (c *call) status(res *cni.Result) []byte {
	n := &c.network
	w := jsontext.NewWriter(nil).Open('{')
	w.Key("dns_search_domains").Raw("[]")
	w.Key("dns_server_ips").Open('[')
	for _, a := range n.dns {
		w.Item().Str(a.String())
	}
	w.Close(']')
	w.Key("interfaces").Open('{')
	for i, l := range res.Interfaces {
		if l.Sandbox == "" {
			continue
		}
		w.Key(l.Name).Open('{')
		w.Key("mac_address").Str(l.MAC)
		w.Key("subnets").Open('[')
		for _, ip := range res.IPs {
			if ip.Interface != i && ip.Interface != spec.NoInterface {
				continue
			}
			w.Item().Open('{')
			w.Text("ipnet", ip.Address.String())
			if !n.internal {
				writeAddr(w, "gateway", ip.Gateway)
			}
			w.Close('}')
		}
		w.Close(']').Close('}')
	}
	w.Close('}')
	return append(w.Close('}').Bytes(), '\n')
}

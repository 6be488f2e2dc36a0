// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// A message is one of protocol buffers', as bytes.
type message []byte

// number appends a field that's a number, or a boolean.
func (m message) number(field int, n uint64) message {
	return binary.AppendUvarint(binary.AppendUvarint(m, uint64(field)<<3), n)
}

// text appends a field that's a string, or a message within.
func (m message) text(field int, s string) message {
	m = binary.AppendUvarint(m, uint64(field)<<3|2)
	return append(binary.AppendUvarint(m, uint64(len(s))), s...)
}

// nest appends a field that's a message.
func (m message) nest(field int, inner message) message { return m.text(field, string(inner)) }

// field returns the last string or message with a number, or what's absent: nothing.
func (m message) field(field int) (found message) {
	for len(m) > 0 {
		key, n := binary.Uvarint(m)
		if n <= 0 {
			return nil
		}
		m = m[n:]
		size, n := binary.Uvarint(m)
		if n <= 0 {
			return nil
		}
		m = m[n:]
		if key&7 != 2 {
			continue // a number, read as if it were a size
		}
		if size > uint64(len(m)) {
			return nil
		}
		if key>>3 == uint64(field) {
			found = m[:size]
		}
		m = m[size:]
	}
	return found
}

// A cri is a client of a container runtime's interface for Kubernetes, v1: what kubelet calls. It's
// gRPC by hand, so that the tests need no module for it: HTTP/2 whose bodies are messages behind
// five bytes of length.
type cri struct{ http.Client }

func newCRI(socket string) *cri {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &cri{http.Client{Timeout: hang, Transport: &http.Transport{
		Protocols: &protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

// call calls a method of the RuntimeService.
func (c *cri) call(method string, request message) (message, error) {
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(request)))
	post, err := http.NewRequest(http.MethodPost, "http://cri/runtime.v1.RuntimeService/"+method, bytes.NewReader(append(body, request...)))
	if err != nil {
		return nil, err
	}
	post.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	response, err := c.Do(post)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	for _, where := range []http.Header{response.Trailer, response.Header} {
		if status := where.Get("Grpc-Status"); status != "" && status != "0" {
			text, _ := url.PathUnescape(where.Get("Grpc-Message"))
			return nil, fmt.Errorf("%s: status %s: %s", method, status, text)
		}
	}
	if len(answer) < 5 {
		return nil, errors.New(method + ": no answer")
	}
	return answer[5:], nil
}

//go:build !unix

package imapconn

import "net"

// probe cannot look at a socket here; the caller asks the server instead.
func probe(net.Conn) (closed, pending, ok bool) { return false, false, false }

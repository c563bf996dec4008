//go:build !unix

package srt

import "syscall"

// tuneSocket leaves the socket as it is.
func tuneSocket(syscall.RawConn, int) error { return nil }

//go:build unix

package srt

import "syscall"

// tuneSocket gives a listener a receive buffer that holds the bursts of many streams, and
// takes away the right to share its port, which would hide that another program has it.
func tuneSocket(raw syscall.RawConn, size int) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		if failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0); failed == nil {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

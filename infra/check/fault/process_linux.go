package fault

import "syscall"

// dieWithParent has the kernel kill a process when the test's own process is gone: a test
// that is killed leaves none behind.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

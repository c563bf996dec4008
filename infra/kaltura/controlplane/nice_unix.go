//go:build unix

package controlplane

import "syscall"

// behind is the priority of what may take its time: a tenth of the processor where others want all
// of it. With less it might not come to its end.
const behind = 10

// yield lets a process go behind all others for the processor. It is a courtesy: a system that refuses
// runs it as it is. On Linux it is of the first thread, from which those that ffmpeg starts later have it.
func yield(pid int) { _ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, behind) }

//go:build !unix

package telemetry

import (
	"errors"
	"time"
)

func processCPU() (time.Duration, bool) { return 0, false }

func descriptors() (open, most int, ok bool) { return 0, 0, false }

// DescriptorLimit is not known on this system.
func DescriptorLimit() (most int, ok bool) { return 0, false }

// DiskFree is not known on this system.
func DiskFree(string) (int64, error) { return 0, errors.ErrUnsupported }

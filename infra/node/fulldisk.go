package node

import (
	"context"
	"errors"
	"fmt"

	"klive/infra/telemetry"
)

const (
	// diskLeast is what has to be free for a bus in this process to go on writing its records.
	diskLeast = 16 << 20
	// diskAgain is what has to be free again before a bus that could not write begins anew.
	diskAgain = 32 << 20
)

// ErrAgain is delivered by [Node.Failed] when the node has to be started anew: its bus could not
// write to its folder, which is for good as far as NATS goes, and there is room again.
var ErrAgain = errors.New("the bus could not write to its folder and there is room again")

// fullDisk watches over the disk of a bus in this process.
type fullDisk struct {
	dir    string
	broken func() error
	free   func(dir string) (int64, error)
}

// full says that there is no room for the bus's records; nil when there is, or when it is not
// known.
func (d *fullDisk) full() error {
	if d == nil {
		return nil
	}
	if err := d.broken(); err != nil {
		return err
	}
	if free, err := d.free(d.dir); err == nil && free < diskLeast {
		return fmt.Errorf("the disk of the data folder %s is full: %d MiB are left; free some space", d.dir, free>>20)
	}
	return nil
}

// again reports whether the bus is broken and could be begun anew.
func (d *fullDisk) again() bool {
	if d.broken() == nil {
		return false
	}
	free, err := d.free(d.dir)
	return err == nil && free >= diskAgain
}

// watchDisk begins to watch over the folder of a bus in this process.
func (n *Node) watchDisk(ctx context.Context, broken func() error) {
	d := &fullDisk{dir: n.settings.Data, broken: broken, free: telemetry.DiskFree}
	n.disk.Store(d)
	n.beside(ctx, "disk", func(ctx context.Context) {
		told := false
		for sleep(ctx, pulseEvery) {
			err := d.full()
			if err != nil && !told {
				n.log.Error("no streams are taken, and what is on the air goes on as far as the bus can write", "error", err)
			} else if err == nil && told {
				n.log.Info("there is room on the disk of the data folder again")
			}
			told = err != nil
			if d.again() {
				select {
				case n.failed <- ErrAgain:
				default:
				}
				return
			}
		}
	})
}

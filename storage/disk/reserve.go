package disk

import (
	"fmt"
	"path/filepath"

	"klive/infra/telemetry"
	"klive/storage"
)

// smallObject is the size from which on an object has to leave the reserve alone.
const smallObject = 64 << 10

// room refuses what would take the disk's reserve. The bus's records may lie on the same disk,
// and it can't go on without room for them.
func (s *Store) room(size int64) error {
	if s.reserve <= 0 || size < smallObject {
		return nil
	}
	free, err := telemetry.DiskFree(s.root)
	if err != nil || free-size >= s.reserve {
		return nil // what is not known is found out by writing
	}
	return fmt.Errorf("%w: free space on the disk of %s, the folder of %s (%d MiB are free, and klive leaves %d MiB)", storage.ErrFull, filepath.Dir(s.root), s.setting, free>>20, s.reserve>>20)
}

func sizeOf(data [][]byte) (n int64) {
	for _, p := range data {
		n += int64(len(p))
	}
	return n
}

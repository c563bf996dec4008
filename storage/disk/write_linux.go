package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// maxPieces is how many pieces the kernel takes in one call (IOV_MAX).
const maxPieces = 1024

// writeAll writes the pieces with as few system calls as there can be, without joining them.
func writeAll(f *os.File, data [][]byte) (int64, error) {
	var size int64
	batch := make([][]byte, 0, min(len(data), maxPieces))
	for len(data) > 0 {
		batch = batch[:0]
		for len(data) > 0 && len(batch) < maxPieces {
			if len(data[0]) > 0 {
				batch = append(batch, data[0])
			}
			data = data[1:]
		}
		n, err := writeBatch(f, batch)
		size += n
		if err != nil {
			return size, err
		}
	}
	return size, nil
}

func writeBatch(f *os.File, batch [][]byte) (size int64, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = conn.Write(func(fd uintptr) bool {
		for len(batch) > 0 {
			n, err := unix.Writev(int(fd), batch)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				failed = os.NewSyscallError("writev", err)
				return true
			}
			size += int64(n)
			batch = skip(batch, n)
		}
		return true
	})
	if failed != nil {
		err = failed
	}
	return size, err
}

// skip drops the first n bytes of batch, whose slices are its own.
func skip(batch [][]byte, n int) [][]byte {
	for len(batch) > 0 && n >= len(batch[0]) {
		n -= len(batch[0])
		batch = batch[1:]
	}
	if n > 0 {
		batch[0] = batch[0][n:]
	}
	return batch
}

package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	// maxPieces is how many pieces the kernel takes in one call (IOV_MAX).
	maxPieces = 1024
	// maxWrite is how many bytes one call writes. For a call of 2 MB and more the kernel looks
	// for page cache in unbroken blocks of that size. It finds those in memory that has not
	// been used for long, which a virtual machine's host has to provide anew: four times the
	// CPU of writing to pages that were freed lately.
	maxWrite = 512 << 10
)

// writeAll writes the pieces with few system calls, without joining them.
func writeAll(f *os.File, data [][]byte) (int64, error) {
	var size int64
	var piece []byte
	batch := make([][]byte, 0, min(len(data)+1, maxPieces))
	for {
		batch = batch[:0]
		for room := maxWrite; room > 0 && len(batch) < maxPieces; {
			if len(piece) > 0 {
				n := min(room, len(piece))
				batch, piece, room = append(batch, piece[:n]), piece[n:], room-n
			} else if len(data) > 0 {
				piece, data = data[0], data[1:]
			} else {
				break
			}
		}
		if len(batch) == 0 {
			return size, nil
		}
		n, err := writeBatch(f, batch)
		size += n
		if err != nil {
			return size, err
		}
	}
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

//go:build !linux

package disk

import "os"

// writeAll writes the pieces one by one.
func writeAll(f *os.File, data [][]byte) (int64, error) {
	var size int64
	for _, piece := range data {
		n, err := f.Write(piece)
		size += int64(n)
		if err != nil {
			return size, err
		}
	}
	return size, nil
}

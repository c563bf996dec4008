package mp4

import (
	"encoding/binary"
	"fmt"
)

// Box is the header of a box at the beginning of b.
type Box struct {
	Type string
	// Header and Size are in bytes; Size counts the header. Size is 0 for a box that lasts to
	// the end of the file.
	Header int
	Size   uint64
}

// ReadBox reads a box's header (ISO/IEC 14496-12 §4.2). ok is false when b is too short.
func ReadBox(b []byte) (box Box, ok bool, err error) {
	if len(b) < 8 {
		return Box{}, false, nil
	}
	box = Box{Type: string(b[4:8]), Header: 8, Size: uint64(binary.BigEndian.Uint32(b))}
	if box.Size == 1 {
		if len(b) < 16 {
			return Box{}, false, nil
		}
		box.Header, box.Size = 16, binary.BigEndian.Uint64(b[8:])
	}
	for _, c := range []byte(box.Type) {
		if c < 0x20 || c > 0x7e {
			return Box{}, false, fmt.Errorf("%w: a box of type %q", ErrFile, box.Type)
		}
	}
	if box.Size != 0 && box.Size < uint64(box.Header) {
		return Box{}, false, fmt.Errorf("%w: a %s box of %d bytes", ErrFile, box.Type, box.Size)
	}
	return box, true, nil
}

// wholeBox reads the header of a box that has to end within the bytes that are left, of which b are the first.
func wholeBox(b []byte, left uint64) (Box, error) {
	box, ok, err := ReadBox(b)
	switch {
	case err != nil:
		return Box{}, err
	case !ok:
		return Box{}, fmt.Errorf("%w: a cut box", ErrFile)
	case box.Size == 0:
		return Box{}, fmt.Errorf("%w: a %s box without a size", ErrFile, box.Type)
	case box.Size > left:
		return Box{}, fmt.Errorf("%w: a %s box of %d bytes where %d are left", ErrFile, box.Type, box.Size, left)
	}
	return box, nil
}

// checkBoxes bounds the number of top-level boxes and holds their sizes against the bytes.
func checkBoxes(b []byte) error {
	for n := 0; len(b) > 0; n++ {
		if n == maxBoxes {
			return fmt.Errorf("%w: more than %d boxes", ErrFile, maxBoxes)
		}
		box, err := wholeBox(b, uint64(len(b)))
		if err != nil {
			return err
		}
		b = b[box.Size:]
	}
	return nil
}

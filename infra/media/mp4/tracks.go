package mp4

import (
	"errors"
	"fmt"
	"io"

	"klive/infra/media"
)

// maxFileMoov bounds the moov of a whole file, in bytes: the tables of a million samples are less.
const maxFileMoov = 32 << 20

// ReadTracks reads the parameters of a file's tracks of pictures and of sound, in their order; others
// are left out, and media are not read. Errors wrap ErrFile, or are the reader's own.
func ReadTracks(r io.ReadSeeker) (tracks []media.Params, err error) {
	defer caught(&err)
	b, err := readMoov(r)
	if err != nil {
		return nil, err
	}
	f, err := decode(b)
	if err != nil {
		return nil, err
	}
	if f.Moov == nil || len(f.Moov.Traks) > maxMovieTracks {
		return nil, fmt.Errorf("%w: it has no moov, or more than %d tracks", ErrFile, maxMovieTracks)
	}
	for _, trak := range f.Moov.Traks {
		if kind := trak.Mdia.Hdlr.HandlerType; kind != "vide" && kind != "soun" {
			continue
		}
		p, err := paramsOf(trak.Mdia.Minf.Stbl.Stsd)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFile, err)
		}
		tracks = append(tracks, media.WithPose(p, poseOf(trak)))
	}
	return tracks, nil
}

// readMoov finds the moov among the boxes of a file and reads it.
func readMoov(r io.ReadSeeker) ([]byte, error) {
	head, at := make([]byte, 16), int64(0)
	for range maxBoxes {
		n, err := io.ReadFull(r, head)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		box, ok, err := ReadBox(head[:n])
		if err != nil {
			return nil, err
		}
		if !ok || box.Size == 0 || box.Size > 1<<50 {
			return nil, fmt.Errorf("%w: it has no moov", ErrFile)
		}
		if box.Type != "moov" {
			at += int64(box.Size)
			if _, err := r.Seek(at, io.SeekStart); err != nil {
				return nil, err
			}
			continue
		}
		if box.Size > maxFileMoov {
			return nil, fmt.Errorf("%w: a moov of %d bytes", ErrFile, box.Size)
		}
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			return nil, err
		}
		moov := make([]byte, box.Size)
		if _, err := io.ReadFull(r, moov); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: the moov is cut", ErrFile)
		} else if err != nil {
			return nil, err
		}
		return moov, nil
	}
	return nil, fmt.Errorf("%w: more than %d boxes", ErrFile, maxBoxes)
}

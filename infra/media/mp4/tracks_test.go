package mp4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"klive/infra/media"
)

// away is a file that can't be read.
type away struct{ io.ReadSeeker }

var errAway = errors.New("the store is away")

func (away) Read([]byte) (int, error) { return 0, errAway }

// TestReadTracks reads the parameters of whole files, with the moov in front and behind, and of files
// that are none.
func TestReadTracks(t *testing.T) {
	video, audio := h264Params(t), aacParams(t)
	file := movie(t, video, audio, 0, store(t, video, videoFrames(0, 60)), store(t, audio, audioFrames(0, 86)))
	moov := bytes.Index(file, []byte("moov")) - 4
	mdat := bytes.Index(file, []byte("mdat")) - 4
	behind := append(append(bytes.Clone(file[:moov]), file[mdat:]...), file[moov:mdat]...)
	fragmented, err := Init(media.Track{Params: audio})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		want []media.Params
	}{
		"in front":   {file, []media.Params{video, audio}},
		"behind":     {behind, []media.Params{video, audio}},
		"fragmented": {fragmented, []media.Params{audio}},
	} {
		got, err := ReadTracks(bytes.NewReader(c.file))
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: %v, %v", name, got, err)
			continue
		}
		for i := range got {
			if !got[i].Equal(c.want[i]) {
				t.Errorf("%s: track %d is %v", name, i, got[i])
			}
		}
	}
	for n := range mdat {
		if _, err := ReadTracks(bytes.NewReader(file[:n])); !errors.Is(err, ErrFile) {
			t.Fatalf("%d of %d bytes: %v", n, len(file), err)
		}
	}
	large := bytes.Clone(file)
	binary.BigEndian.PutUint32(large[moov:], maxFileMoov+1)
	if _, err := ReadTracks(bytes.NewReader(large)); !errors.Is(err, ErrFile) {
		t.Errorf("a moov that is too large: %v", err)
	}
	if _, err := ReadTracks(away{bytes.NewReader(file)}); !errors.Is(err, errAway) || errors.Is(err, ErrFile) {
		t.Errorf("a store that is away: %v", err)
	}
}

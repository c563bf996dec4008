package mp4

import (
	"bytes"
	"testing"

	"klive/infra/media"
)

// TestLanguage writes languages into initialization sections and reads them again; without one
// the section is what it always was.
func TestLanguage(t *testing.T) {
	plain, err := Init(media.Track{ID: 1, Params: aacParams(t)})
	if err != nil {
		t.Fatal(err)
	}
	for tag, elng := range map[string]bool{"": false, "he": false, "pt-BR": true} {
		b, err := Init(media.Track{ID: 1, Params: aacParams(t), Language: tag})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("elng")) != elng || (tag == "") != bytes.Equal(b, plain) {
			t.Errorf("%q: extended language box %v, as without %v", tag, bytes.Contains(b, []byte("elng")), bytes.Equal(b, plain))
		}
		var moov []byte
		for at := 0; at < len(b); {
			box, ok, err := ReadBox(b[at:])
			if err != nil || !ok {
				t.Fatal(err)
			}
			if box.Type == "moov" {
				moov = b[at : at+int(box.Size)]
			}
			at += int(box.Size)
		}
		m, err := ParseMovie(moov)
		if err != nil || len(m.Tracks) != 1 || m.Tracks[0].Language != tag {
			t.Errorf("%q is read as %+v, %v", tag, m, err)
		}
		if h, err := ParseInit(b); err != nil || !h.Params.Equal(aacParams(t)) {
			t.Errorf("%q: %+v, %v", tag, h, err)
		}
	}
}

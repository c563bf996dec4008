package packager

import "klive/infra/media"

// lookForCaptions notes the caption services in an item's pictures. What was seen stays until the
// broadcast ends: captions pause, and playlists must not come and go with them.
func (w *writer) lookForCaptions(it *item) {
	before := len(w.captions)
	for _, s := range it.segments {
		t, ok := s.Track(media.Video)
		if !ok {
			continue
		}
		_, hevc := t.Params.(*media.HEVC)
		if _, avc := t.Params.(*media.H264); !avc && !hevc {
			continue
		}
		for _, f := range s.Frames(t.ID) {
			w.captions.Look(f.Payload, hevc)
		}
	}
	if len(w.captions) > before {
		w.log.Info("the pictures carry captions", "services", []string(w.captions))
	}
}

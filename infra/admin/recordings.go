package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Recordings tells of recorded files and passes on what operators decide about them.
type Recordings interface {
	// Recordings lists files, those that wait for an operator first and then the newest; of one
	// entry when that is not empty.
	Recordings(ctx context.Context, entry string) (RecordingList, error)
	// Order asks the recorder of an entry for something: "split" (what is recorded from now on
	// goes into the next file), or "retry" or "skip" of a file. It is done within seconds where
	// the entry's recorder runs. Errors that the caller can mend are Refusals.
	Order(ctx context.Context, entry, kind, file string) error
	// VODs lists the recorded entries of the control plane; nil where there is none.
	VODs(ctx context.Context) ([]VOD, error)
}

// RecordingList is what is recorded, and what is being recorded.
type RecordingList struct {
	Recordings []Recording `json:"recordings"`
	// Running are the entries whose broadcast is being recorded now.
	Running []string `json:"running"`
	// More says that some are left out.
	More bool `json:"more"`
}

// Recording is one recorded file as an operator sees it.
type Recording struct {
	Entry string `json:"entry"`
	// File is "<asset>.<index>_<n>", Key where the MP4 rests in the store of recordings.
	File  string `json:"file"`
	Key   string `json:"key"`
	Asset string `json:"asset"`
	Index int    `json:"index"`
	// Rendition is what was recorded, Start when its media begin, Duration in seconds.
	Rendition string    `json:"rendition"`
	Start     time.Time `json:"start"`
	Duration  float64   `json:"duration"`
	Last      bool      `json:"last"`
	// State is planned, uploaded, appending, confirmed, parked or skipped; Reason says why.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	Bytes  int64  `json:"bytes"`
	// Lost counts the segments that are missing.
	Lost    int       `json:"lost"`
	Changed time.Time `json:"changed"`
}

// VOD is a recorded entry.
type VOD struct {
	ID       string      `json:"id"`
	Entry    string      `json:"entry"`
	Name     string      `json:"name"`
	Created  time.Time   `json:"created"`
	Duration float64     `json:"duration"` // seconds
	Flavors  []VODFlavor `json:"flavors"`
	// Problem says why recorded files are not in it yet.
	Problem string `json:"problem,omitempty"`
}

// VODFlavor is one file of a recorded entry; Path leads to it on this listener.
type VODFlavor struct {
	Params int    `json:"params"`
	Files  int    `json:"files"` // appended ones that are in it
	Bytes  int64  `json:"bytes"`
	Path   string `json:"path"`
}

// recordings answers GET /v1/recordings, with ?entry= those of one entry. Where nothing is
// recorded there are none.
func (h *Handler) recordings(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		RecordingList
		VODs []VOD `json:"vods"`
	}{}
	if h.config.Recordings != nil { // the console asks wherever it is
		var err error
		if answer.RecordingList, err = h.config.Recordings.Recordings(r.Context(), r.URL.Query().Get("entry")); err != nil {
			h.refused(w, r, "can't list the recordings", err)
			return
		}
		if answer.VODs, err = h.config.Recordings.VODs(r.Context()); err != nil {
			h.refused(w, r, "can't list the recorded entries", err)
			return
		}
	}
	answer.Recordings = append([]Recording{}, answer.Recordings...)
	answer.Running = append([]string{}, answer.Running...)
	answer.VODs = append([]VOD{}, answer.VODs...)
	writeJSON(w, answer)
}

// maxOrder bounds what an order brings, in bytes.
const maxOrder = 4 << 10

// orderRecording answers POST /v1/recordings/{entry}/{kind}: split, and with {"file": …} retry
// and skip.
func (h *Handler) orderRecording(w http.ResponseWriter, r *http.Request) {
	var o struct {
		File string `json:"file"`
	}
	if r.ContentLength != 0 {
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			problem(w, http.StatusBadRequest, `want a JSON object such as {"file": "0_abcdefgh.0_3"}: `+err.Error())
			return
		}
	}
	entry, kind := r.PathValue("entry"), r.PathValue("kind")
	if err := h.config.Recordings.Order(r.Context(), entry, kind, o.File); err != nil {
		h.refused(w, r, "can't pass the order on", err)
		return
	}
	writeJSON(w, map[string]any{"ordered": kind, "entry": entry, "file": o.File})
}

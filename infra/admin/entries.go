package admin

import (
	"encoding/json"
	"errors"
	"net/http"
)

// NewEntry is a live entry to be made.
type NewEntry struct {
	Name string `json:"name"`
	// Token is what encoders need; empty draws one.
	Token string `json:"token"`
	// DVR is the window in minutes; 0 is none.
	DVR int `json:"dvr"`
	// Profile is a conversion profile's id; 0 is the partner's default.
	Profile int `json:"profile"`
	// Record is "none", "append" (all sessions to one VOD entry) or "session" (one for each);
	// empty leaves it to the control plane.
	Record string `json:"record"`
	// SRTPassphrase is what SRT callers have to encrypt with; empty asks for no encryption.
	SRTPassphrase string `json:"srtPassphrase"`
}

// Profile is a conversion profile that an entry may have.
type Profile struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	// Default is that of entries which name none.
	Default bool `json:"default,omitempty"`
}

// Refusal is an error that the caller can mend, with the HTTP status that says of what kind
// it is.
type Refusal struct {
	Status int
	Reason string
}

func (r *Refusal) Error() string { return r.Reason }

// maxNewEntry bounds what /v1/entries is sent, in bytes.
const maxNewEntry = 16 << 10

// addEntry answers POST /v1/entries: it makes a live entry and says where to publish to it.
func (h *Handler) addEntry(w http.ResponseWriter, r *http.Request) {
	var e NewEntry
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxNewEntry))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		problem(w, http.StatusBadRequest, `want a JSON object of name, and where wanted token, dvr (minutes), profile, record and srtPassphrase: `+err.Error())
		return
	}
	made, err := h.config.Entries.Add(r.Context(), e)
	if err != nil {
		h.refused(w, r, "can't add the entry", err)
		return
	}
	writeStatus(w, http.StatusCreated, "application/json", h.entryView(made, r))
}

// profiles answers GET /v1/profiles: what a new entry may have for its profile.
func (h *Handler) profiles(w http.ResponseWriter, r *http.Request) {
	list, err := h.config.Entries.Profiles(r.Context())
	if err != nil {
		h.refused(w, r, "can't list the conversion profiles", err)
		return
	}
	writeJSON(w, map[string]any{"profiles": append([]Profile{}, list...)})
}

// removeEntry answers DELETE /v1/entries/{id}.
func (h *Handler) removeEntry(w http.ResponseWriter, r *http.Request) {
	if err := h.config.Entries.Remove(r.Context(), r.PathValue("id"), r.URL.Query().Get("force") == "1"); err != nil {
		h.refused(w, r, "can't remove the entry", err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// refused answers with the reason of a refusal, or as failed does.
func (h *Handler) refused(w http.ResponseWriter, r *http.Request, what string, err error) {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		problem(w, refusal.Status, refusal.Reason)
		return
	}
	h.failed(w, r, what, err)
}

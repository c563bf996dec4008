package admin

import (
	"context"
	"encoding/json"
	"net/http"
)

// Pins passes on which of an entry's encoders operators want viewers to see.
type Pins interface {
	// Pin prefers the "primary" or the "backup" of an entry that is on the air, from now on until
	// the broadcast is over; "" leaves the choice to klive again. Viewers see the other encoder
	// only while the chosen one sends nothing. Errors that the caller can mend are Refusals.
	Pin(ctx context.Context, entry, index string) error
}

// pin answers PUT /v1/entries/{entry}/pin with {"index": "backup"}.
func (h *Handler) pin(w http.ResponseWriter, r *http.Request) {
	var o struct {
		Index string `json:"index"`
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil || o.Index != "primary" && o.Index != "backup" {
		problem(w, http.StatusBadRequest, `want {"index": "primary"} or {"index": "backup"}; DELETE this address to leave the choice to klive`)
		return
	}
	h.setPin(w, r, o.Index)
}

// unpin answers DELETE /v1/entries/{entry}/pin.
func (h *Handler) unpin(w http.ResponseWriter, r *http.Request) { h.setPin(w, r, "") }

func (h *Handler) setPin(w http.ResponseWriter, r *http.Request, index string) {
	entry := r.PathValue("entry")
	if err := h.config.Pins.Pin(r.Context(), entry, index); err != nil {
		h.refused(w, r, "can't pass the choice on", err)
		return
	}
	writeJSON(w, map[string]any{"entry": entry, "pinned": index})
}

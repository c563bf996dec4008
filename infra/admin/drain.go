package admin

import (
	"errors"
	"net/http"
	"time"
)

// Drainer lets go of what a process holds before it is ended.
type Drainer interface {
	// Drain begins; it does not wait and may be called more than once.
	Drain()
	// Undrain takes it back. It fails with [ErrDrained] when that is not possible any more; without a drain it does nothing.
	Undrain() error
	// Held is what the process still holds.
	Held() Held
}

// ErrDrained is returned for a drain that can't be taken back.
var ErrDrained = errors.New("the drain can't be taken back any more")

// Held is what a process holds that should not end with it.
type Held struct {
	// Draining says that it takes nothing on, since Since; until Until encoders may stay.
	Draining bool      `json:"draining"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	// Feeds are encoders that are connected here, Owned entries that this worker owns.
	Feeds int `json:"feeds"`
	Owned int `json:"owned"`
	// Alone says that the process does all by itself: its entries stay with it until it ends, because nobody can take them.
	Alone bool `json:"alone,omitempty"`
}

// Left reports whether something is here that a drain can still wait for.
func (h Held) Left() bool { return h.Feeds > 0 || !h.Alone && h.Owned > 0 }

// held answers GET /v1/drain.
func (h *Handler) held(w http.ResponseWriter, _ *http.Request) { writeJSON(w, h.config.Drain.Held()) }

// drain answers POST /v1/drain.
func (h *Handler) drain(w http.ResponseWriter, _ *http.Request) {
	h.config.Drain.Drain()
	writeJSON(w, h.config.Drain.Held())
}

// undrain answers DELETE /v1/drain.
func (h *Handler) undrain(w http.ResponseWriter, r *http.Request) {
	if err := h.config.Drain.Undrain(); errors.Is(err, ErrDrained) {
		problem(w, http.StatusConflict, err.Error())
		return
	} else if err != nil {
		h.failed(w, r, "can't take the drain back", err)
		return
	}
	writeJSON(w, h.config.Drain.Held())
}

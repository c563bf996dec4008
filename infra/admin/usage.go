package admin

import (
	"context"
	"net/http"
	"time"
)

// Usage tells what partners have used.
type Usage interface {
	// Usage lists what each partner has used in a month ("2026-11", UTC), by partner.
	Usage(ctx context.Context, month string) ([]PartnerUsage, error)
}

// PartnerUsage is what a partner has used in a month, over the whole deployment. It is up to ten
// seconds behind.
type PartnerUsage struct {
	Partner int `json:"partner"`
	// IngestMinutes are minutes of media that came in, of all streams together; RungMinutes those
	// of the renditions that transcode workers made; BytesStored the media that were stored.
	IngestMinutes float64 `json:"ingestMinutes"`
	RungMinutes   float64 `json:"rungMinutes"`
	BytesStored   int64   `json:"bytesStored"`
}

// usage answers GET /v1/usage, with ?month=2026-10 for another month than the present one.
func (h *Handler) usage(w http.ResponseWriter, r *http.Request) {
	month := r.URL.Query().Get("month")
	if month == "" {
		month = time.Now().UTC().Format("2006-01")
	}
	if _, err := time.Parse("2006-01", month); err != nil {
		problem(w, http.StatusBadRequest, "month looks like 2026-11")
		return
	}
	list, err := h.config.Usage.Usage(r.Context(), month)
	if err != nil {
		h.failed(w, r, "can't tell what partners have used", err)
		return
	}
	if list == nil {
		list = []PartnerUsage{}
	}
	writeJSON(w, map[string]any{"month": month, "partners": list})
}

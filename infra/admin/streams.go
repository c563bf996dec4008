package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"klive/infra/live"
)

// State is what a stream is doing.
type State string

// The states of a stream.
const (
	// StateStarting: the encoder is connected, viewers can't play it yet.
	StateStarting State = "starting"
	// StateLive: it plays, or is what viewers get next because the other encoder is gone.
	StateLive State = "live"
	// StateStandby: it arrives and could play, but viewers see the other encoder.
	StateStandby State = "standby"
	// StateStalled: it arrives, and nothing new of the entry has reached viewers for longer
	// than three target durations: no worker owns it, or its owner is stuck.
	StateStalled State = "stalled"
	// StateSilent: the connection is open and nothing comes.
	StateSilent State = "silent"
	// StateGone: the encoder is away; the broadcast waits for it.
	StateGone State = "gone"
)

// Stream is one encoder's feed as an operator sees it.
type Stream struct {
	Entry string `json:"entry"`
	// Feed is "<entry>.<index>.<suffix>", Name what the encoder publishes.
	Feed  string `json:"feed"`
	Name  string `json:"name"`
	Index string `json:"index"` // "primary" or "backup"
	State State  `json:"state"`
	// Video and Audio name codecs, "H264" and "AAC"; empty when there is none.
	Video     string  `json:"video,omitempty"`
	Audio     string  `json:"audio,omitempty"`
	Width     int     `json:"width,omitempty"`
	Height    int     `json:"height,omitempty"`
	FrameRate float64 `json:"frameRate,omitempty"`
	Bitrate   int64   `json:"bitrate"` // bit/s, over the last seconds
	Frames    uint64  `json:"frames"`  // since the encoder connected
	Bytes     uint64  `json:"bytes"`
	// Opened is when the encoder connected, Started when the broadcast went on air.
	Opened  time.Time `json:"opened"`
	Started time.Time `json:"started,omitzero"`
	// Gone is when the encoder was there last; zero while it is.
	Gone     time.Time `json:"gone,omitzero"`
	Protocol string    `json:"protocol"`
	Encoder  string    `json:"encoder,omitempty"`
	Peer     string    `json:"peer"`
	Gateway  string    `json:"gateway,omitempty"`
	// Rungs are the renditions of the entry that transcode workers make.
	Rungs []Rung `json:"rungs,omitempty"`
	// Health is how much of the last ten seconds the feed brought media for, 0 to 100, less the share of its
	// newest segments that are gaps for viewers; nil when its gateway does not say, and once the encoder is gone.
	// Problem names those gaps.
	Health  *int   `json:"health,omitempty"`
	Problem string `json:"problem,omitempty"`
	// Preferred is which encoder of the entry an operator has chosen, "primary" or "backup", whether or not it is
	// there; empty without a choice. Pinned says that it is this one.
	Preferred string `json:"preferred,omitempty"`
	Pinned    bool   `json:"pinned,omitempty"`
	// Link is how the connection does, for protocols that know it.
	Link *live.LinkStats `json:"link,omitempty"`
	// PlayPath is the path of the entry's playlist. The answer holds the whole address.
	PlayPath string `json:"-"`
}

// Rung is a rendition that transcode workers make, as of the newest segments.
type Rung struct {
	Rendition string `json:"rendition"`
	Width     int    `json:"width,omitempty"`
	Height    int    `json:"height,omitempty"`
	// Segments is how many of the newest segments count, Gaps how many of them it lacks.
	Segments int `json:"segments"`
	Gaps     int `json:"gaps"`
	// Failed is the newest segment that it lacks, Reason why.
	Failed string `json:"failed,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// Entry is a live entry that encoders may publish to.
type Entry struct {
	ID      string
	Name    string
	Partner int
	// Token is the entry's broadcast token, SRTPassphrase that with which SRT callers have to
	// encrypt, if any. The listener's guard protects both.
	Token, SRTPassphrase string
}

// streamView is a Stream as the API shows it.
type streamView struct {
	Stream
	// OnAir is how long the encoder has been on air since it connected, in seconds: from the later
	// of Opened and Started until now or Gone.
	OnAir float64 `json:"onAir"`
	Play  string  `json:"playUrl,omitempty"`
}

// streams answers /v1/streams and /v1/streams/{entry}.
func (h *Handler) streams(w http.ResponseWriter, r *http.Request) {
	list, err := h.config.Streams.Streams(r.Context())
	if err != nil {
		h.failed(w, r, "can't list the streams", err)
		return
	}
	entry := r.PathValue("entry")
	now := time.Now()
	views := make([]streamView, 0, len(list))
	for _, s := range list {
		if entry != "" && s.Entry != entry {
			continue
		}
		since, until := s.Opened, now
		if s.Started.After(since) {
			since = s.Started
		}
		if !s.Gone.IsZero() {
			until = s.Gone
		}
		views = append(views, streamView{
			Stream: s, OnAir: max(0, until.Sub(since).Seconds()), Play: h.config.Places.watch(s.Entry, s.PlayPath, r),
		})
	}
	if entry != "" && len(views) == 0 {
		problem(w, http.StatusNotFound, "no stream of this entry is on the air")
		return
	}
	writeJSON(w, map[string]any{"streams": views})
}

// entryView is an Entry with the addresses for its encoder and its viewers.
type entryView struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	Addresses
	FFmpeg string `json:"ffmpeg,omitempty"`
	Play   string `json:"playUrl,omitempty"`
	// Advice says what to set when no address is known.
	Advice string `json:"advice,omitempty"`
	// Live is set while the entry is on the air.
	Live *LiveEntry `json:"live,omitempty"`
}

// entries answers /v1/entries: who may publish here, as far as this node knows, and who is
// on the air.
func (h *Handler) entries(w http.ResponseWriter, r *http.Request) {
	views := []entryView{}
	if h.config.Entries != nil {
		list, err := h.config.Entries.Entries(r.Context())
		if err != nil {
			h.failed(w, r, "can't list the entries", err)
			return
		}
		for _, e := range list {
			views = append(views, h.entryView(e, r))
		}
	}
	if h.config.Cluster != nil {
		live, err := h.config.Cluster.Live(r.Context())
		if err != nil {
			h.failed(w, r, "can't list the entries on the air", err)
			return
		}
		views = addLive(views, live)
	}
	writeJSON(w, map[string]any{"entries": views, "managed": h.config.Entries != nil})
}

func (h *Handler) entryView(e Entry, r *http.Request) entryView {
	servers := h.config.Places.servers(r)
	v := entryView{ID: e.ID, Name: e.Name, Addresses: servers.Of(e), Play: h.config.Places.watch(e.ID, masterPath(e.ID), r)}
	if servers.none() {
		v.Advice = "no gateway is known here: set rtmp.publicUrl and whip.publicUrl to where encoders reach the gateways"
	}
	if v.Server != "" {
		v.FFmpeg = `ffmpeg -re -i input.mp4 -c:v libx264 -preset veryfast -b:v 2500k -g 60 -c:a aac -b:a 128k -f flv "` +
			v.Server + "/" + v.Key + `"`
	}
	return v
}

func (h *Handler) server(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		Version string `json:"version"`
		Servers
		Play    string   `json:"play"`
		Process *Process `json:"process,omitempty"`
	}{Version: h.config.Version, Servers: h.config.Places.servers(r), Play: h.config.Places.play("/", r)}
	if h.config.Process != nil {
		process := h.config.Process()
		answer.Process = &process
	}
	writeJSON(w, answer)
}

func (h *Handler) failed(w http.ResponseWriter, r *http.Request, what string, err error) {
	if h.config.Ready != nil {
		if reason := h.config.Ready(r.Context()); reason != nil { // says more than what came of it
			problem(w, http.StatusServiceUnavailable, what+" now: not ready: "+reason.Error())
			return
		}
	}
	h.config.Log.WarnContext(r.Context(), what, "path", r.URL.Path, "err", err)
	problem(w, http.StatusServiceUnavailable, what+" now; klive's log says why")
}

func writeJSON(w http.ResponseWriter, v any) { writeStatus(w, http.StatusOK, "application/json", v) }

// writeStatus answers in JSON. People copy addresses out of it, so their & stays as it is; nobody takes it for HTML.
func writeStatus(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the client may be gone
}

// problem writes an error as RFC 9457 has it.
func problem(w http.ResponseWriter, status int, detail string) {
	writeStatus(w, status, "application/problem+json", map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail,
	})
}

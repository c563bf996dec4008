package controlplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"klive/infra/bus"
	"klive/infra/kaltura"
	"klive/infra/live"
)

// VOD is a recorded entry as the console shows it.
type VOD struct {
	ID string `json:"id"`
	// Entry is the live entry that was recorded.
	Entry    string        `json:"entry"`
	Name     string        `json:"name"`
	Created  time.Time     `json:"created"`
	Duration time.Duration `json:"durationNs"`
	Flavors  []Flavor      `json:"flavors"`
	// Problem says why appended files are not in it yet; empty when nothing is the matter.
	Problem string `json:"problem,omitempty"`
}

// Flavor is one file of a recorded entry.
type Flavor struct {
	Params int `json:"params"`
	// Files counts the appended files in it, Bytes its size.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Path is where [Server.ServeVOD] serves it.
	Path string `json:"path"`
}

// VODs lists the recorded entries, newest first.
func (s *Server) VODs(ctx context.Context) ([]VOD, error) {
	all, err := loadAll[entryDoc](ctx, s.state, everyEntry)
	if err != nil {
		return nil, err
	}
	var out []VOD
	for _, d := range all {
		if !d.Recorded || d.Entry.Status == kaltura.EntryStatusDeleted {
			continue
		}
		v := VOD{ID: d.Entry.ID, Entry: d.Entry.RootEntryID, Name: d.Entry.Name, Created: time.Unix(d.Entry.CreatedAt, 0).UTC(),
			Duration: time.Duration(d.Entry.MsDuration) * time.Millisecond, Flavors: []Flavor{}, Problem: s.setbacks.problem(d.Entry.ID)}
		for _, f := range d.Flavors {
			v.Flavors = append(v.Flavors, Flavor{Params: f.Params, Files: f.Joined, Bytes: sizeOf(f.Chunks), Path: fmt.Sprintf("/vod/%s/%d.mp4", v.ID, f.Params)})
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b VOD) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// ServeVOD answers GET /vod/<recorded entry>/<flavorParamsId>.mp4, with ranges.
func (s *Server) ServeVOD(w http.ResponseWriter, r *http.Request) {
	entry, name, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/vod/"), "/")
	number, isFile := strings.CutSuffix(name, ".mp4")
	params, err := strconv.Atoi(number)
	if !ok || !isFile || err != nil || !live.ValidEntryID(entry) || s.config.Recorded == nil {
		http.NotFound(w, r)
		return
	}
	doc, err := load[entryDoc](r.Context(), s.state, entryKey(entry))
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		http.Error(w, "the recording can't be looked up now; try again", http.StatusServiceUnavailable)
		return
	}
	at := slices.IndexFunc(doc.Flavors, func(f vodFlavor) bool { return f.Params == params && len(f.Chunks) > 0 })
	if err != nil || at < 0 || doc.Entry.Status == kaltura.EntryStatusDeleted {
		http.NotFound(w, r)
		return
	}
	f := doc.Flavors[at]
	body := &chunkReader{ctx: r.Context(), files: s.config.Recorded, chunks: f.Chunks}
	defer body.Close()
	w.Header().Set("Content-Type", "video/mp4")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", strconv.Quote(f.Chunks[0].File+"-"+strconv.Itoa(f.Joined)))
	http.ServeContent(w, r, name, time.Time{}, body)
}

// Package timeline is what has been stored of an entry, as data: its broadcasts, their
// renditions and items (one item a segment of the grid, with one media object a
// rendition). The owner changes it by appending records to the entry's log on the bus; a
// State is the fold of those records, so owner and origins that read the same log hold
// the same State. The head object in storage holds a State and the log position it
// stands for.
package timeline

import (
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// State is an entry's timeline. A State is never changed once it is made: [State.Apply]
// makes a new one that shares what did not change, so it may be read without locks.
type State struct {
	Version int    `json:"v"`
	Entry   string `json:"entry"`
	// Epoch is the fence: the owner that wrote this state. A writer with a lower epoch stops.
	Epoch uint64 `json:"epoch"`
	// Owner names the owner that claimed Epoch.
	Owner string `json:"owner,omitempty"`
	// LogSeq is the last record of the entry's log that is folded in.
	LogSeq uint64 `json:"logSeq"`
	// NextSeq and NextDiscontinuity are the next media sequence and discontinuity sequence
	// numbers. They start at 1 and never go back, across broadcasts too.
	NextSeq           uint64 `json:"nextSeq"`
	NextDiscontinuity uint64 `json:"nextDiscontinuity"`
	// Broadcasts are in order of time; the last one is the current or latest.
	Broadcasts []*Broadcast `json:"broadcasts"`
}

// Broadcast runs from an entry's first feed until all feeds have been gone for the resume time.
type Broadcast struct {
	// ID is unguessable and part of every media address.
	ID    string     `json:"id"`
	Start media.Time `json:"start"`
	// Ended is set when the broadcast is over: its playlists end.
	Ended bool       `json:"ended,omitempty"`
	End   media.Time `json:"end,omitempty"`
	// Target is TARGETDURATION in seconds, fixed with the first item.
	Target int `json:"target"`
	// Dependent is set once an item began without a random access point.
	Dependent bool          `json:"dependent,omitempty"`
	DVRWindow time.Duration `json:"dvrWindow,omitempty"`
	// Renditions are in ladder order: video, then audio.
	Renditions []Rendition `json:"renditions"`
	// FirstSeq is the oldest item that has not expired. Its chapter may hold older ones.
	FirstSeq uint64 `json:"firstSeq,omitempty"`
	// Runs are the stretches between discontinuities, oldest first, from the one that holds
	// FirstSeq on, and at most maxRuns of them. States of release 1 have none.
	Runs []Run `json:"runs,omitempty"`
	// Chapters are closed runs of items in objects of their own, oldest first; Items are what
	// follows them: the open chapter, and never fewer than the live window.
	Chapters []Chapter `json:"chapters,omitempty"`
	Items    []Item    `json:"items"`
}

// Rendition is one output as players see it.
type Rendition struct {
	// Name is "<entry>_<flavorParamsId>" for video, "<entry>_a<n>" for audio.
	Name string     `json:"name"`
	Kind media.Kind `json:"kind"`
	// Rung is the ladder's rung for a video rendition, and for the audio of a broadcast that
	// has no video.
	Rung live.Rung `json:"rung,omitzero"`
	// Groups are the playlist groups ("all" and tags) that list the rendition.
	Groups []string `json:"groups,omitempty"`
	// Audio is the name of the audio rendition that goes with a video rendition; may be empty.
	Audio string `json:"audio,omitempty"`
	// Encoded says that transcode workers make the rendition. Until something of it is there,
	// Codecs and what follows say what it will be.
	Encoded bool `json:"encoded,omitempty"`
	// Codecs, Width, Height, FrameRate, Channels and SampleRate describe the newest init.
	Codecs     string  `json:"codecs"`
	Width      int     `json:"width,omitempty"`
	Height     int     `json:"height,omitempty"`
	FrameRate  float64 `json:"frameRate,omitempty"`
	Channels   int     `json:"channels,omitempty"`
	SampleRate uint32  `json:"sampleRate,omitempty"`
	// Language is an RFC 5646 tag; it is empty while there is one track of sound to choose from.
	Language string `json:"language,omitempty"`
	// Captions are the CEA-608 and CEA-708 services that were seen in a video rendition's pictures:
	// "CC1", "SERVICE1" (the values of INSTREAM-ID).
	Captions []string `json:"captions,omitempty"`
	// Inits counts the initialization sections stored so far: init-1.mp4 to init-<Inits>.mp4.
	Inits int `json:"inits"`
	// InitSum is a checksum of the newest one, by which the next owner knows it again; empty
	// when the owner's release did not write it.
	InitSum string `json:"initSum,omitempty"`
	// First is the first item with media of this rendition, 0 before that. Set by the fold; an
	// item from First on without media of the rendition is a gap in it.
	First uint64 `json:"first,omitempty"`
	// Peak and the sums measure BANDWIDTH and AVERAGE-BANDWIDTH over all items that were stored
	// or held so far. They are set by the fold. Peak is in bit/s, over runs of segments between half and one
	// and a half target durations (RFC 8216bis, BANDWIDTH); 0 before there was such a run.
	Peak     int64         `json:"peak"`
	Bytes    int64         `json:"bytes"`
	Duration time.Duration `json:"duration"`
}

// Run is a stretch of items without a discontinuity within, by its first item.
type Run struct {
	Seq   uint64     `json:"seq"`
	Start media.Time `json:"start"`
}

// Item is one segment of the grid.
type Item struct {
	Seq uint64 `json:"seq"`
	// DiscontinuitySeq counts the discontinuities up to and including this item's own.
	DiscontinuitySeq uint64 `json:"discSeq"`
	// Discontinuity puts EXT-X-DISCONTINUITY before the item.
	Discontinuity bool `json:"disc,omitempty"`
	// Dependent says that pictures that are not encoded here begin without a keyframe. Set by the fold.
	Dependent bool          `json:"dep,omitempty"`
	Start     media.Time    `json:"start"`
	Duration  time.Duration `json:"duration"`
	Media     []Media       `json:"media"`
}

// Media is one item's object in one rendition.
type Media struct {
	Rendition string `json:"r"`
	// Name is "<start>-<feed epoch>"; the object is <rendition>/<broadcast>/<Name>.m4s.
	Name     string        `json:"name,omitempty"`
	Start    media.Time    `json:"start,omitempty"`
	Duration time.Duration `json:"duration"`
	Init     int           `json:"init,omitempty"`
	Size     int64         `json:"size,omitempty"`
	// Stored is set when the object rests in the store. Gap says that it will never be there.
	// Held says that it is on its way there: the owner's spool keeps it, and the media plane
	// still has its parts. Of the three at most one is set.
	Stored bool `json:"stored,omitempty"`
	Gap    bool `json:"gap,omitempty"`
	Held   bool `json:"held,omitempty"`
	// Feed, the part numbers and From (as in [live.Assembly]) tell from which messages of the
	// media plane the object can be made again.
	Feed      live.Feed  `json:"feed,omitzero"`
	FirstPart uint64     `json:"firstPart,omitempty"`
	LastPart  uint64     `json:"lastPart,omitempty"`
	From      media.Time `json:"from,omitempty"`
	// Encode is set for media that transcode workers make; the four fields above are then empty.
	Encode *Encode `json:"encode,omitempty"`
}

// Encode says how encoded media come to be: by which job, or, once it is known, where on the
// media plane its result is.
type Encode struct {
	// Feed and LastPart tell what it is made of.
	Feed     live.Feed `json:"feed,omitzero"`
	LastPart uint64    `json:"lastPart,omitempty"`
	// Job asks for it, without its other outputs. It is nil once the media are settled.
	Job *live.Job `json:"job,omitempty"`
	// Attempt made the media; its parts are numbered 1 to Parts.
	Attempt string `json:"attempt,omitempty"`
	Parts   uint64 `json:"parts,omitempty"`
	// Failure is why the media are a gap, for operators.
	Failure string `json:"failure,omitempty"`
	// Video is, of pictures that are a gap, what would have been made: a recording has them made
	// again from the stored source.
	Video *live.VideoJob `json:"video,omitempty"`
}

// Without returns what is said of the media once they are settled.
func (e *Encode) Without() *Encode {
	n := *e
	n.Job = nil
	return &n
}

// MadeOf returns the feed that the media come from and the number of its last part in them; the
// feed's epoch is 0 when there is none.
func (m *Media) MadeOf() (live.Feed, uint64) {
	if m.Encode != nil {
		return m.Encode.Feed, m.Encode.LastPart
	}
	return m.Feed, m.LastPart
}

// Parts returns where on the media plane the parts are that the object can be made from, their
// numbers, and where the segment is entered; ok is false when that is not known.
func (m *Media) Parts(entry string) (subject string, first, last uint64, from media.Time, ok bool) {
	if e := m.Encode; e != nil {
		return live.RungSubject(entry, m.Rendition, e.Attempt), 1, e.Parts, 0, e.Attempt != ""
	}
	return m.Feed.Subject(), m.FirstPart, m.LastPart, m.From, m.Feed.Epoch != 0 && m.FirstPart > 0 && m.LastPart >= m.FirstPart
}

// Settled reports whether the media is stored or a gap: nothing more will be said of it.
func (m *Media) Settled() bool { return m.Stored || m.Gap }

// remade reports whether the media may be made again for a recording.
func (m *Media) remade() bool { return m.Gap && m.Encode != nil && m.Encode.Video != nil }

// there reports whether the media's object exists, in the store or on its way to it.
func (m *Media) there() bool { return m.Stored || m.Held }

// Chapter is a closed run of items whose media are all stored or gaps, kept in an immutable
// object.
type Chapter struct {
	Key      string        `json:"key"`
	FirstSeq uint64        `json:"firstSeq"`
	LastSeq  uint64        `json:"lastSeq"`
	Start    media.Time    `json:"start"`
	Duration time.Duration `json:"duration"`
}

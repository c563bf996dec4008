package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"klive/infra/media"
)

// JobsQueue is the control-plane queue of [Job]s. RungsLog is the log of [JobEnd]s under
// [Job.EndSubject], and DeadLog that of [DeadJob]s, under the entry.
const (
	JobsQueue = "transcode"
	RungsLog  = "rungs"
	DeadLog   = "deadjobs"
)

// RungsKeep is how long ends of jobs are kept: longer than a job, and the media that its
// result is made of, can last. DeadKeep is how long dead jobs are.
const (
	RungsKeep = 10 * time.Minute
	DeadKeep  = 24 * time.Hour
)

// Versions of a job's wire form. The second has Again, Sounds and Silent, without which its
// outputs would be wrong ones; a job that has none of them is written in the first, which the
// release before reads. Ends and dead jobs have the first alone.
const (
	jobVersion  = 1
	jobVersion2 = 2
)

// Bounds of a job.
const (
	maxJobOutputs = 32
	maxJobSide    = 16384
	maxJobText    = 1024
)

// ErrJob says that bytes are no job, or that what they ask for can't be.
var ErrJob = errors.New("live: malformed transcode job")

// Job asks for one segment's renditions. Whoever takes it needs nothing else: it reads the
// segment's parts from the media plane and publishes each output's parts under a subject of
// its own, and behind them one [JobEnd].
type Job struct {
	Version int  `json:"v"`
	Feed    Feed `json:"feed"`
	// Number is the segment's in its feed epoch.
	Number uint64 `json:"number"`
	// Again is set for a segment whose rungs have ended as gaps and that a recording has made again:
	// its parts, read from the store, then lie under [Job.Subject], and it and its ends are others
	// than those of the first time.
	Again string `json:"again,omitempty"`
	// LeadIn, First and Last are the media plane's numbers of the first part to read, and of
	// the segment's first and last. What lies before First is decoded and not shown.
	LeadIn uint64 `json:"leadIn"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	// From is where the segment is entered, as in [Assembly]; 0 means at its start.
	From media.Time `json:"from,omitempty"`
	// Start and End are the item's: the outputs begin and end with it.
	Start media.Time `json:"start"`
	End   media.Time `json:"end"`
	// Follows says that the parts before First join this segment, Continues that another
	// segment may follow that joins it: then one part behind Last is waited for.
	Follows   bool          `json:"follows,omitempty"`
	Continues bool          `json:"continues,omitempty"`
	Target    time.Duration `json:"target"`
	// Put is when the job was made, Deadline when nobody wants its results any more.
	Put      time.Time `json:"put"`
	Deadline time.Time `json:"deadline"`

	Video []VideoJob `json:"video,omitempty"`
	Audio *AudioJob  `json:"audio,omitempty"`
	// Sounds are further encoded tracks of the same sound: rungs without pictures.
	Sounds []AudioJob `json:"sounds,omitempty"`
}

// Heard are all encoded tracks of sound.
func (j *Job) Heard() []AudioJob {
	if j.Audio == nil {
		return j.Sounds
	}
	return append([]AudioJob{*j.Audio}, j.Sounds...)
}

// VideoJob is one encoded picture track.
type VideoJob struct {
	Rendition string `json:"rendition"`
	Profile   string `json:"profile"` // "baseline", "main", "high"
	Level     int    `json:"level"`   // ten times the level: 31
	// Width and Height are in square pixels, and even.
	Width   int `json:"width"`
	Height  int `json:"height"`
	Fit     Fit `json:"fit,omitempty"`
	Bitrate int `json:"bitrate"` // bit/s
	// Most in bit/s and Buffer in bits bound the rate.
	Most     int  `json:"most"`
	Buffer   int  `json:"buffer"`
	Constant bool `json:"constant,omitempty"`
	// KeyInterval is in frames; 0 means that the first one alone is a keyframe.
	KeyInterval int  `json:"keyInterval,omitempty"`
	Skip        int  `json:"skip,omitempty"` // frames left out behind each that is kept
	Deinterlace bool `json:"deinterlace,omitempty"`
}

// AudioJob is the encoded sound: AAC-LC in frames of 1024 samples, which begin at multiples
// of 1024 samples since the Unix epoch. A frame belongs to the segment that its first sample
// lies in.
type AudioJob struct {
	Rendition  string `json:"rendition"`
	Bitrate    int    `json:"bitrate"` // bit/s
	SampleRate uint32 `json:"sampleRate"`
	Channels   int    `json:"channels"`
	// Silent says that the segment has no sound: it is to be silence.
	Silent bool `json:"silent,omitempty"`
}

// Listens reports whether any encoded track is made of the segment's own sound.
func (j *Job) Listens() bool {
	return slices.ContainsFunc(j.Heard(), func(a AudioJob) bool { return !a.Silent })
}

// Name is the segment's, "<start in µs>-<feed epoch>", as in the names of its media.
func (j *Job) Name() string {
	s := Segment{Start: j.Start}
	return s.Name(j.Feed)
}

// ID is the job's: the same for the same segment, whoever asks.
func (j *Job) ID() string {
	if j.Again != "" {
		return j.Feed.Entry + "." + j.Name() + ".again-" + j.Again
	}
	return j.Feed.Entry + "." + j.Name()
}

// Subject is the media-plane subject that carries the segment's parts.
func (j *Job) Subject() string {
	if j.Again != "" {
		return "a." + j.Feed.Entry + "." + j.Again
	}
	return j.Feed.Subject()
}

// EndSubject is where the end of one of the job's outputs stands in [RungsLog]. The subject's
// only record is the first end that was written; it counts.
func (j *Job) EndSubject(rendition string) string { return j.ID() + "." + rendition }

// Outputs names the renditions, highest bitrate first, the sound last.
func (j *Job) Outputs() []string {
	var out []string
	for i := range j.Video {
		out = append(out, j.Video[i].Rendition)
	}
	for _, a := range j.Heard() {
		out = append(out, a.Rendition)
	}
	return out
}

// RungSubject is the media-plane subject that carries what one attempt made of a segment in
// one rendition.
func RungSubject(entry, rendition, attempt string) string {
	return "r." + entry + "." + rendition + "." + attempt
}

// Marshal returns the job's wire form.
func (j Job) Marshal() ([]byte, error) {
	j.Version = j.version()
	if err := j.check(); err != nil {
		return nil, err
	}
	return json.Marshal(j)
}

// version is the lowest that holds the job.
func (j *Job) version() int {
	silent := slices.ContainsFunc(j.Heard(), func(a AudioJob) bool { return a.Silent })
	if j.Again != "" || len(j.Sounds) > 0 || silent {
		return jobVersion2
	}
	return jobVersion
}

// UnmarshalJob reads what [Job.Marshal] wrote. Errors: ErrJob, ErrVersion.
func UnmarshalJob(b []byte) (*Job, error) {
	j := &Job{}
	if err := json.Unmarshal(b, j); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJob, err)
	}
	if j.Version != jobVersion && j.Version != jobVersion2 {
		return nil, fmt.Errorf("job version %d: %w", j.Version, ErrVersion)
	}
	return j, j.check()
}

func (j *Job) check() error {
	bad := func(what string) error { return fmt.Errorf("%w: %s: %s", ErrJob, j.ID(), what) }
	switch {
	case !ValidEntryID(j.Feed.Entry):
		return fmt.Errorf("%w: %.40q is no entry", ErrJob, j.Feed.Entry)
	case !validWord(j.Again):
		return bad("what it is made again as is no word")
	case j.First < 1 || j.LeadIn < 1 || j.LeadIn > j.First || j.Last < j.First:
		return bad("its parts are not in order")
	case j.End <= j.Start || j.End.Sub(j.Start) > time.Minute || j.Target < time.Second || j.Target > time.Minute:
		return bad("its times are out of bounds")
	case len(j.Outputs()) == 0 || len(j.Outputs()) > maxJobOutputs:
		return bad("it asks for nothing, or for too much")
	}
	seen := map[string]bool{}
	for _, name := range j.Outputs() {
		if !validRendition(j.Feed.Entry, name) || seen[name] {
			return bad("an output's name is odd or there twice")
		}
		seen[name] = true
	}
	for i := range j.Video {
		if !j.Video[i].valid() {
			return bad(j.Video[i].Rendition + " can't be encoded like that")
		}
	}
	for _, a := range j.Heard() {
		if a.SampleRate < 8000 || a.SampleRate > 96000 || a.Channels < 1 || a.Channels > 8 || a.Bitrate < 8000 || a.Bitrate > 1e6 {
			return bad(a.Rendition + " can't be encoded like that")
		}
	}
	return nil
}

func (v *VideoJob) valid() bool {
	within := func(n, most int) bool { return n >= 2 && n <= most && n%2 == 0 }
	return within(v.Width, maxJobSide) && within(v.Height, maxJobSide) && v.Bitrate > 0 && v.Most > 0 && v.Buffer > 0 &&
		v.Skip >= 0 && v.Skip <= 240 && v.KeyInterval >= 0 && v.Level >= 10 && v.Level <= 62 &&
		(v.Profile == "baseline" || v.Profile == "main" || v.Profile == "high")
}

func validRendition(entry, name string) bool {
	rest, ok := strings.CutPrefix(name, entry+"_")
	_, err := strconv.ParseUint(strings.TrimPrefix(rest, "a"), 10, 31)
	return ok && err == nil
}

// JobEnd says what became of one output of a job: it was made, by the attempt whose parts are
// numbered 1 to Parts under [RungSubject], or it never will be.
type JobEnd struct {
	Version   int    `json:"v"`
	Rendition string `json:"rendition"`
	Attempt   string `json:"attempt,omitempty"`
	Parts     uint64 `json:"parts,omitempty"`
	// Failure is why there is nothing; empty when there is. Cause is one word of it.
	Failure string `json:"failure,omitempty"`
	Cause   string `json:"cause,omitempty"`
}

// Marshal returns the end's wire form.
func (e JobEnd) Marshal() ([]byte, error) {
	e.Version = jobVersion
	e.Failure = cut(e.Failure)
	return json.Marshal(e)
}

// UnmarshalJobEnd reads what [JobEnd.Marshal] wrote. Errors: ErrJob, ErrVersion.
func UnmarshalJobEnd(b []byte) (JobEnd, error) {
	var e JobEnd
	if err := json.Unmarshal(b, &e); err != nil {
		return e, fmt.Errorf("%w: %w", ErrJob, err)
	}
	if e.Version != jobVersion {
		return e, fmt.Errorf("job end version %d: %w", e.Version, ErrVersion)
	}
	if e.Failure == "" && (e.Attempt == "" || !validWord(e.Attempt) || e.Parts < 1 || e.Parts > maxPartFrames) {
		return e, fmt.Errorf("%w: an end without attempt, parts or failure", ErrJob)
	}
	return e, nil
}

// validWord keeps what becomes part of a subject to letters and digits; it may be empty.
func validWord(s string) bool { return len(s) <= 64 && strings.Trim(s, attemptLetters) == "" }

const attemptLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// DeadJob is a job that was given up, with what was found out about it.
type DeadJob struct {
	Version int       `json:"v"`
	Job     Job       `json:"job"`
	At      time.Time `json:"at"`
	Worker  string    `json:"worker"`
	Reason  string    `json:"reason"`
	// Command is the encoder's command line, Input the file on the worker's disk that it was
	// given; empty when there is none.
	Command []string `json:"command,omitempty"`
	Input   string   `json:"input,omitempty"`
}

// Marshal returns the dead job's wire form.
func (d DeadJob) Marshal() ([]byte, error) {
	d.Version = jobVersion
	d.Reason = cut(d.Reason)
	return json.Marshal(d)
}

// cut bounds a text.
func cut(s string) string {
	if len(s) > maxJobText {
		s = s[:maxJobText]
	}
	return strings.ToValidUTF8(s, "")
}

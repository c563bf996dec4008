package recorder

import (
	"context"
	"net/url"
	"strings"
	"time"

	"klive/infra/kaltura"
	"klive/storage/timeline"
)

// Strategy is how Kaltura gets at a recorded file.
type Strategy string

// The strategies.
const (
	// UploadToken uploads the file to the API, streamed from the store.
	UploadToken Strategy = "uploadToken"
	// ServerFile names a path on storage that the API servers share, or what a template makes of it.
	ServerFile Strategy = "serverFile"
	// URL names an address that the API fetches the file from.
	URL Strategy = "url"
)

// Options are what can be configured. Zero values mean the defaults.
type Options struct {
	// Segment is the length of a file, default 15 min.
	Segment time.Duration
	// Strategy defaults to UploadToken.
	Strategy Strategy
	// Path is the template of what ServerFile names, Address that of what URL does: {key} stands
	// for the MP4's key in the store of recordings, {name} for its file name. Of an empty Address
	// the store of recordings is asked for one (Config.Sign).
	Path, Address string
	// Keep is how long the MP4 of a confirmed file stays, 0 is for ever.
	Keep time.Duration
	// Poll is how often the timeline is looked at, default 1 s. Retry is the wait after a failure
	// that may pass, doubled with each up to RetryMost; defaults 1 s and 1 min.
	Poll, Retry, RetryMost time.Duration
	// Settle is how long after a broadcast's end media that nobody has settled are waited for,
	// default 10 min.
	Settle time.Duration
	// Remake is how long a file waits for its gaps to be made again; 0 is not at all.
	Remake time.Duration
	// Backup has the backup encoder's own feeds recorded too, under server index 1. A feed that comes
	// back within Resume, default 3 min, goes on in its recording.
	Backup bool
	Resume time.Duration
	// Upscale is that of transcoding.
	Upscale bool
	// Unknown is how long after a lost answer the recorded duration tells whether a file was
	// appended, default 1 min: the call may still be under way.
	Unknown time.Duration
}

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.Segment, 15*time.Minute)
	def(&o.Poll, time.Second)
	def(&o.Retry, time.Second)
	def(&o.RetryMost, time.Minute)
	def(&o.Settle, 10*time.Minute)
	def(&o.Unknown, time.Minute)
	def(&o.Resume, 3*time.Minute)
	if o.Strategy == "" {
		o.Strategy = UploadToken
	}
	return o
}

// fill makes an address or path of a template.
func fill(template, key string, escape bool) string {
	if escape {
		key = (&url.URL{Path: key}).EscapedPath()
	}
	name := key[strings.LastIndexByte(key, '/')+1:]
	return strings.NewReplacer("{key}", key, "{name}", name).Replace(template)
}

// API is what the recorder needs of Kaltura; [kaltura.Client] is one.
type API interface {
	LiveStreamGet(ctx context.Context, partner int, entry string) (*kaltura.LiveStreamEntry, error)
	AppendRecording(ctx context.Context, partner int, r kaltura.AppendRequest) (*kaltura.LiveStreamEntry, error)
	CancelReplace(ctx context.Context, partner int, recordedEntry string) error
	Upload(ctx context.Context, partner int, r kaltura.UploadRequest) (*kaltura.UploadToken, error)
}

// Timelines reads entries' timelines; [timeline.View] is one.
type Timelines interface {
	State(ctx context.Context, entry string) (*timeline.State, error)
	Items(ctx context.Context, broadcast string, c timeline.Chapter) ([]timeline.Item, error)
}

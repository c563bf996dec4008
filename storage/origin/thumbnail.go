package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"klive/infra/config"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// Limits of making pictures.
const (
	maxPictures     = 2 // at a time
	pictureTimeout  = 10 * time.Second
	maxPictureBytes = 32 << 20 // kept
	maxPicture      = 4 << 20
	posterAge       = 60 // seconds in caches
)

// The names of an entry's pictures in its folders.
const (
	thumbnailName = "thumbnail.jpg"
	posterName    = "poster.jpg"
)

// errNoFFmpeg is returned where there is no ffmpeg.
var errNoFFmpeg = errors.New("pictures need ffmpeg beside the origin")

// Thumbnails says how an entry's pictures are made. The zero value makes none.
type Thumbnails struct {
	// Every is how often the live picture changes; 0 means that there are no pictures.
	Every time.Duration
	// Width is the most that they have, in pixels. Default 640.
	Width int
	// FFmpeg is the program; empty means "ffmpeg" from the PATH.
	FFmpeg string
}

// pictures makes JPEG pictures from keyframes that are stored.
type pictures struct {
	cfg   Thumbnails
	media *fetcher
	kept  *memo
}

func newPictures(cfg Thumbnails, media *fetcher, results *prometheus.CounterVec) *pictures {
	if cfg.Width <= 0 {
		cfg.Width = 640
	}
	if cfg.FFmpeg == "" {
		cfg.FFmpeg = "ffmpeg"
	}
	return &pictures{cfg: cfg, media: media, kept: newMemo(maxPictures, maxPictureBytes, pictureTimeout, results)}
}

// servePicture answers for /kLive/<folder>/thumbnail.jpg, a picture of now, and poster.jpg, the
// oldest one that the broadcast has.
func (o *Origin) servePicture(w http.ResponseWriter, r *http.Request, sel playlist.Selection, poster bool) (kind string) {
	m, err := o.picture(r.Context(), sel, poster)
	if errors.Is(err, errNoFFmpeg) {
		fail(w, http.StatusNotFound, err.Error())
		return kindOther
	}
	if err != nil {
		o.failErr(w, r, err)
		return kindOther
	}
	h := w.Header()
	age := posterAge
	if !poster {
		age = max(1, int(o.pictures.cfg.Every.Seconds())/2)
	}
	h.Set("Content-Type", "image/jpeg")
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(age))
	h.Set("ETag", m.info.ETag)
	if notModified(r, m.info.ETag, "") {
		w.WriteHeader(http.StatusNotModified)
		return kindOther
	}
	h.Set("Content-Length", strconv.Itoa(len(m.data)))
	if r.Method != http.MethodHead {
		w.Write(m.data)
	}
	return kindOther
}

func (o *Origin) picture(ctx context.Context, sel playlist.Selection, poster bool) (*made, error) {
	state, err := o.cfg.Timelines.State(ctx, sel.Entry)
	if err != nil {
		return nil, err
	}
	b := playlist.OnAir(state)
	if b == nil {
		return nil, storage.ErrNotFound
	}
	d := playlist.Smallest(b, sel)
	if d == nil {
		return nil, fmt.Errorf("%w: %s has no picture", storage.ErrNotFound, sel.Entry)
	}
	items := b.Items
	if poster && len(b.Chapters) > 0 {
		past, err := o.cfg.Timelines.Items(ctx, b.ID, b.Chapters[0])
		if err != nil {
			return nil, err
		}
		items = slices.Concat(past, items)
	}
	m := o.pictures.choose(b, d, items, poster)
	if m == nil {
		return nil, storage.ErrNotFound
	}
	return o.pictures.kept.get(ctx, d.Name+"/"+b.ID+"/"+m.Name, func(ctx context.Context) (*made, error) {
		return o.pictures.make(ctx, b.ID, *m)
	})
}

// choose returns the media to take the picture from: the oldest, or the first in the newest
// stretch of Every. All origins choose alike.
func (p *pictures) choose(b *timeline.Broadcast, d *timeline.Rendition, items []timeline.Item, poster bool) *timeline.Media {
	var chosen *timeline.Media
	stretch := func(m *timeline.Media) int64 { return int64(m.Start) / int64(p.cfg.Every) }
	for i := range items {
		m := items[i].Of(d.Name)
		if m == nil || items[i].Seq < b.FirstSeq || !m.Stored && !m.Held {
			continue
		}
		if poster {
			return m
		}
		if chosen == nil || stretch(m) > stretch(chosen) {
			chosen = m
		}
	}
	return chosen
}

// make has ffmpeg turn the first keyframe into a picture.
func (p *pictures) make(ctx context.Context, broadcast string, m timeline.Media) (*made, error) {
	program, err := exec.LookPath(p.cfg.FFmpeg)
	if err != nil {
		return nil, errNoFFmpeg
	}
	t, _, err := p.media.track(ctx, broadcast, m)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(t.Frames, func(f media.Frame) bool { return f.Key })
	if i < 0 {
		return nil, fmt.Errorf("%w: %s has no keyframe", storage.ErrNotFound, m.Name)
	}
	init, err := mp4.Init(media.Track{Params: t.Params})
	if err != nil {
		return nil, err
	}
	frame := t.Frames[i]
	frame.Duration = time.Second
	pieces, err := mp4.Segment(t.Params, []*media.Frame{&frame}, 1)
	if err != nil {
		return nil, err
	}
	data, err := p.run(ctx, program, append(init, bytes.Join(pieces, nil)...))
	if err != nil {
		return nil, err
	}
	return &made{data: data, info: storage.Info{Size: int64(len(data)), ETag: tag(data)}}, nil
}

// run runs ffmpeg on pipes, without a shell.
func (p *pictures) run(ctx context.Context, program string, in []byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, "-loglevel", "error", "-nostdin", "-threads", "1", "-f", "mp4", "-i", "pipe:0",
		"-frames:v", "1", "-vf", fmt.Sprintf("scale='min(%d,iw)':-2", p.cfg.Width), "-q:v", "4", "-f", "mjpeg", "pipe:1")
	var out, complaints limited
	out.left, complaints.left = maxPicture, 4<<10
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &complaints
	cmd.Env = config.ChildEnviron()
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("a picture could not be made: %w: %s", err, bytes.TrimSpace(complaints.Bytes()))
	}
	if out.Len() == 0 {
		return nil, errors.New("a picture could not be made: ffmpeg gave none")
	}
	return out.Bytes(), nil
}

// limited takes so many bytes and no more.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > l.left {
		return 0, io.ErrShortBuffer
	}
	l.left -= len(b)
	return l.Buffer.Write(b)
}

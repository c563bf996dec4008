package recorder

import (
	"context"
	"errors"
	"fmt"
	"io"

	"klive/infra/bus"
	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/timeline"
)

// sourceFeeder brings stored segments back to the media plane, as parts under the subject of a
// job. It holds one part at a time.
type sourceFeeder struct {
	store     storage.Store
	media     bus.Media
	broadcast *timeline.Broadcast
	job       *live.Job
	seq       uint64 // parts published so far
}

const (
	// feedPart is how many bytes of frames go into one part, unless one frame has more.
	feedPart = 1 << 20
	// feedTail is how many pictures are published of a segment of which only times are needed.
	feedTail = 8
)

// add publishes a segment's pictures, or only the last of them. Parts of the segment that the
// job is for are marked as such. The error wraps errRefused when the segment is gone.
func (s *sourceFeeder) add(ctx context.Context, m *timeline.Media, number uint64, all bool) error {
	h, x, err := s.index(ctx, m)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, mp4.ErrFile) {
		return fmt.Errorf("%w: its source can't be used: %w", errRefused, err)
	}
	if err != nil {
		return err
	}
	at := offsets(x)
	from := 0
	if !all {
		from = max(0, len(x.Samples)-feedTail)
	}
	seg := live.Segment{
		Start: m.Start, Number: number, Tracks: []media.Track{{ID: media.VideoTrack, Params: h.Params}},
		Independent: x.Samples[0].Key, Target: s.job.Target,
	}
	for part := 0; from < len(x.Samples); part++ {
		to, size := from, int64(0)
		for to < len(x.Samples) && (to == from || size+int64(x.Samples[to].Size) <= feedPart && at[to] == at[to-1]+int64(x.Samples[to-1].Size)) {
			size += int64(x.Samples[to].Size)
			to++
		}
		payload, err := s.read(ctx, mediaKey(s.job.Feed.Entry, s.broadcast.ID, m.Rendition, m.Name), at[from], size)
		if err != nil {
			return err
		}
		p := &live.Part{Feed: s.job.Feed, Seq: s.seq + 1, Segment: seg, Number: part, Frames: framesOf(h, x.Samples[from:to], payload)}
		if to == len(x.Samples) {
			p.Last, p.End = true, m.Start.Add(m.Duration)
		}
		if _, err := s.media.Publish(ctx, s.job.Subject(), p.ID(), p); err != nil {
			return err
		}
		s.seq++
		from = to
	}
	return nil
}

// framesOf makes frames of samples whose data lie one behind the other.
func framesOf(h *mp4.Header, samples []mp4.Sample, payload []byte) []media.Frame {
	out := make([]media.Frame, len(samples))
	for i := range samples {
		x := &samples[i]
		dts := h.Time(x.DTS)
		out[i] = media.Frame{
			Track: media.VideoTrack, DTS: dts, PTS: h.Time(x.PTS), Duration: h.Time(x.DTS + int64(x.Duration)).Sub(dts), Key: x.Key,
			Payload: payload[:x.Size:x.Size],
		}
		payload = payload[x.Size:]
	}
	return out
}

// index reads the headers of a segment.
func (s *sourceFeeder) index(ctx context.Context, m *timeline.Media) (*mp4.Header, *mp4.Index, error) {
	h, err := readInit(ctx, s.store, initKey(s.job.Feed.Entry, s.broadcast.ID, m.Rendition, m.Init))
	if err != nil {
		return nil, nil, err
	}
	key := mediaKey(s.job.Feed.Entry, s.broadcast.ID, m.Rendition, m.Name)
	x, err := h.Index(m.Size, func(offset, n int64) ([]byte, error) { return s.read(ctx, key, offset, n) })
	return h, x, err
}

func (s *sourceFeeder) read(ctx context.Context, key string, offset, n int64) ([]byte, error) {
	body, _, err := s.store.Get(ctx, key, &storage.Range{Offset: offset, Length: n})
	if err != nil {
		return nil, fmt.Errorf("recorder: %s: %w", key, err)
	}
	defer body.Close()
	b := make([]byte, n)
	if _, err := io.ReadFull(body, b); err != nil {
		return nil, fmt.Errorf("recorder: %s: %w", key, err)
	}
	return b, nil
}

// offsets says where in the segment each sample's data lie.
func offsets(x *mp4.Index) []int64 {
	out := make([]int64, len(x.Samples))
	run := 0
	at, left := x.Runs[0].Offset, x.Runs[0].Size
	for i := range x.Samples {
		size := int64(x.Samples[i].Size)
		for left < size && run+1 < len(x.Runs) {
			run++
			at, left = x.Runs[run].Offset, x.Runs[run].Size
		}
		out[i] = at
		at, left = at+size, left-size
	}
	return out
}

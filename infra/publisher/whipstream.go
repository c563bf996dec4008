package publisher

import (
	"context"
	"encoding/binary"
	"io"
	"os/exec"
	"time"

	"klive/infra/media"
	"klive/infra/media/ts"
)

// runWHIP publishes what a program writes to its output, an MPEG transport stream of H.264 and
// Opus, and ends with it.
func runWHIP(ctx context.Context, cmd *exec.Cmd, url string) error {
	w, err := DialWHIP(ctx, WHIPConfig{URL: url})
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
		defer cancel()
		_ = w.Close(end)
	}()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err = io.Copy(ts.NewReader(&whipSink{w: w}), out)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	if ended := cmd.Wait(); err == nil {
		err = ended
	}
	return err
}

// whipSink sends the access units of a transport stream over WebRTC.
type whipSink struct {
	w     *WHIP
	sets  []byte // of the pictures, with four-byte lengths
	clock whipClock
}

// whipClock counts the time since the first access unit on, over the wraps of its clock.
type whipClock struct {
	begun bool
	last  uint64 // as it came, wrapped
	ticks int64  // since the beginning
}

// at is the time since the beginning; 0 for sound that begins a little before the pictures.
func (c *whipClock) at(wrapped uint64) time.Duration {
	if c.begun {
		c.ticks += ts.Distance(wrapped - c.last)
	}
	c.begun, c.last = true, wrapped
	return media.FromTicks(max(c.ticks, 0), ts.Rate)
}

func (s *whipSink) Program([]ts.Stream) error { return nil }

func (s *whipSink) Data(ts.Data) error { return nil }

// Track keeps the parameter sets: over WebRTC they come with each keyframe.
func (s *whipSink) Track(t media.Track, _ ts.Stream) error {
	p, ok := t.Params.(*media.H264)
	if !ok {
		return nil
	}
	s.sets = nil
	for _, list := range [][][]byte{p.SPS, p.PPS} {
		for _, set := range list {
			s.sets = append(binary.BigEndian.AppendUint32(s.sets, uint32(len(set))), set...)
		}
	}
	return nil
}

func (s *whipSink) Unit(u ts.Unit) error {
	select {
	case <-s.w.Done():
		return ErrEnded
	default:
	}
	at := s.clock.at(u.Time)
	if u.Track != media.VideoTrack {
		return s.w.Audio(u.Payload, at)
	}
	payload := u.Payload
	if u.Key {
		payload = append(s.sets[:len(s.sets):len(s.sets)], payload...)
	}
	return s.w.Video(payload, at)
}

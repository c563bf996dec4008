package gateway

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"klive/infra/live"
	"klive/infra/media"
)

// Parameter sets of x264 and x265 for a 640x360 test picture.
const (
	testSPS     = "674d401eeca05017fcb808800001f480007530078b16cb"
	testPPS     = "68ebe3cb20"
	testHEVCVPS = "40010c01ffff01600000030090000003000003003f959809"
	testHEVCSPS = "42010101600000030090000003000003003fa00502016965959a4932bc05a02000000300200000030321"
	testHEVCPPS = "4401c172b46240"
)

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func testH264(variant string) media.Track {
	p, err := media.NewH264([][]byte{mustHex(testSPS)}, [][]byte{mustHex(testPPS + variant)})
	if err != nil {
		panic(err)
	}
	return media.Track{ID: media.VideoTrack, Params: p}
}

func testHEVC() media.Track {
	p, err := media.NewHEVC([][]byte{mustHex(testHEVCVPS)}, [][]byte{mustHex(testHEVCSPS)}, [][]byte{mustHex(testHEVCPPS)})
	if err != nil {
		panic(err)
	}
	return media.Track{ID: media.VideoTrack, Params: p}
}

// testAAC returns stereo AAC at 44100 or 48000 Hz.
func testAAC(rate int) media.Track {
	config := map[int]string{44100: "1210", 48000: "1190"}[rate]
	p, err := media.NewAAC(mustHex(config))
	if err != nil {
		panic(err)
	}
	return media.Track{ID: media.FirstAudioTrack, Params: p}
}

// unit is an access unit of a simulated encoder with what is true of it.
type unit struct {
	au AccessUnit
	// at is the true presentation time since the encoder started, sent when it goes out.
	at, sent time.Duration
	index    int // within its track
}

// source simulates an encoder.
type source struct {
	fps      float64       // 0: no video
	gop      int           // frames
	bframes  int           // between two references
	audio    int           // Hz; 0: no audio
	length   time.Duration // of the media
	start    uint64        // ticks of the first frame's decode time
	rate     uint32        // ticks in a second; 0: RTMP's 1000
	bits     uint8
	drift    float64       // of the encoder's clock against ours, as a ratio
	aDrift   float64       // of the audio samples against the encoder's clock
	jitter   time.Duration // of the timestamps, to both sides
	audioLag time.Duration // audio is sent that much later than its time
	rng      *rand.Rand
}

// clock is what its times are in.
func (s source) clock() SourceClock {
	return SourceClock{Rate: cmp.Or(s.rate, 1000), Bits: cmp.Or(s.bits, 32)}
}

// units returns everything the encoder sends, in the order of sending.
func (s source) units() []unit {
	var all []unit
	if s.fps > 0 {
		all = append(all, s.video()...)
	}
	if s.audio > 0 {
		frame := 1024 / float64(s.audio)
		for i := 0; ; i++ {
			at := time.Duration(math.Round(float64(i) * frame * 1e9))
			if at >= s.length {
				break
			}
			stamp := time.Duration(float64(at) * (1 + s.aDrift))
			all = append(all, unit{index: i, at: at, sent: at + s.audioLag, au: AccessUnit{
				Track: media.FirstAudioTrack, Time: s.wire(stamp), Key: true, Payload: payload(1, i),
			}})
		}
	}
	for i := range all {
		all[i].sent = time.Duration(float64(all[i].sent) * (1 + s.drift))
	}
	slices.SortStableFunc(all, func(a, b unit) int { return int(a.sent - b.sent) })
	return all
}

func (s source) video() []unit {
	var all []unit
	frame := time.Duration(math.Round(1e9 / s.fps))
	n := int(s.length.Seconds() * s.fps)
	group := s.bframes + 1
	for i := range n {
		// In decode order a GOP is I, then groups of one P and the B frames shown before it.
		pos := i % s.gop
		shown := pos
		if s.bframes > 0 && pos > 0 {
			g, in := (pos-1)/group, (pos-1)%group
			size := min(group, s.gop-1-g*group)
			if shown = g*group + in; in == 0 {
				shown = g*group + size
			}
		}
		dts := time.Duration(math.Round(float64(i) * 1e9 / s.fps))
		pts := time.Duration(math.Round(float64(i-pos+shown)*1e9/s.fps)) + time.Duration(min(s.bframes, 1))*frame
		wire := s.wire(dts)
		all = append(all, unit{index: i, at: pts, sent: dts, au: AccessUnit{
			Track: media.VideoTrack, Time: wire, Key: pos == 0, Payload: payload(0, i),
			Offset: int32(int64(s.wire(pts)) - int64(s.wire(dts))),
		}})
	}
	return all
}

// wire is a time in ticks, rounded down as RTMP has it.
func (s source) wire(d time.Duration) uint64 {
	if s.jitter > 0 {
		d += time.Duration(s.rng.Int64N(int64(2*s.jitter))) - s.jitter
	}
	c := s.clock()
	ticks := int64(math.Floor(d.Seconds() * float64(c.Rate)))
	return (s.start + uint64(ticks)) & (1<<c.Bits - 1)
}

func payload(track byte, index int) []byte {
	b := make([]byte, 16)
	b[0] = track
	binary.BigEndian.PutUint64(b[1:], uint64(index))
	return b
}

func frameIndex(f *media.Frame) int { return int(binary.BigEndian.Uint64(f.Payload[1:])) }

// bench runs a cutter by hand.
type bench struct {
	t     tb
	cut   *cutter
	epoch media.Time // arrival of time 0
	now   media.Time
	parts []*live.Part
	// others is what the neighbours say.
	others  []live.ClockRecord
	lastEnd media.Time
}

// testEpoch is no multiple of anything.
var testEpoch = media.At(time.Date(2026, 3, 1, 12, 0, 1, 234_567_890, time.UTC))

func newBench(t tb, change func(*cutterConfig)) *bench {
	b := &bench{t: t, epoch: testEpoch, now: testEpoch}
	c := cutterConfig{
		feed:  live.Feed{FeedID: live.FeedID{Entry: "0_rkij47dr", Suffix: 1}, Epoch: 7},
		clock: SourceClock{Rate: 1000, Bits: 32},
		peers: func(_ bool, decide func([]live.ClockRecord, media.Time) live.ClockRecord) {
			decide(b.others, b.lastEnd)
		},
		grid: 4 * time.Second, part: 333 * time.Millisecond, starts: true,
		emit: func(p *live.Part) { b.parts = append(b.parts, p) },
	}
	if change != nil {
		change(&c)
	}
	b.cut = newCutter(c)
	return b
}

func (b *bench) tracks(tracks ...media.Track) *bench {
	for _, t := range tracks {
		if err := b.cut.setTrack(t); err != nil {
			b.t.Fatal(err)
		}
	}
	return b
}

func (b *bench) send(units ...unit) *bench {
	for i := range units {
		b.now = b.epoch.Add(units[i].sent)
		if err := b.cut.write(&units[i].au, b.now); err != nil {
			b.t.Fatal(err)
		}
	}
	return b
}

func (b *bench) finish() []*live.Part {
	b.cut.flush()
	return b.parts
}

// segments groups parts by segment.
func segments(parts []*live.Part) [][]*live.Part {
	var out [][]*live.Part
	for i, p := range parts {
		if i == 0 || p.Segment.Number != parts[i-1].Segment.Number {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], p)
	}
	return out
}

// frames returns the frames of one track.
func frames(parts []*live.Part, id media.TrackID) []media.Frame {
	var out []media.Frame
	for _, p := range parts {
		for _, f := range p.Frames {
			if f.Track == id {
				out = append(out, f)
			}
		}
	}
	return out
}

// checkParts checks what holds for the parts of any feed.
func checkParts(t tb, parts []*live.Part, part time.Duration) {
	t.Helper()
	lastDTS := map[media.TrackID]media.Time{}
	for i, p := range parts {
		if p.Seq != uint64(i+1) {
			t.Fatalf("part %d has sequence number %d", i, p.Seq)
		}
		if len(p.Frames) == 0 {
			t.Errorf("part %d is empty", p.Seq)
		}
		if p.Segment.Target <= 0 || p.Segment.Target > MaxTarget {
			t.Errorf("part %d: target %v", p.Seq, p.Segment.Target)
		}
		if p.Final != (i == len(parts)-1) {
			t.Errorf("part %d of %d: final is %v", p.Seq, len(parts), p.Final)
		}
		var last media.Time
		for j, f := range p.Frames {
			if prev, ok := lastDTS[f.Track]; ok && f.DTS <= prev {
				t.Fatalf("track %d: DTS %d after %d", f.Track, f.DTS, prev)
			}
			lastDTS[f.Track] = f.DTS
			if f.Duration <= 0 || f.PTS < f.DTS {
				t.Fatalf("part %d frame %d: DTS %d PTS %d duration %v", p.Seq, j, f.DTS, f.PTS, f.Duration)
			}
			if f.DTS < last {
				t.Errorf("part %d: frames are not in the order of DTS", p.Seq)
			}
			last = f.DTS
			if n := max(0, int(f.DTS.Sub(p.Segment.Start)/part)); n != p.Number {
				t.Errorf("segment %d part %d holds a frame of part %d", p.Segment.Number, p.Number, n)
			}
		}
	}
	checkSegments(t, parts)
}

func checkSegments(t tb, parts []*live.Part) {
	t.Helper()
	segs := segments(parts)
	names := map[string]bool{}
	var last media.Time
	for i, seg := range segs {
		s, end := seg[0].Segment, seg[len(seg)-1]
		if s.Number != uint64(i+1) || s.Start <= last || names[s.Name(seg[0].Feed)] {
			t.Errorf("segment %d: number %d, start %d after %d, name %s", i, s.Number, s.Start, last, s.Name(seg[0].Feed))
		}
		names[s.Name(seg[0].Feed)], last = true, s.Start
		for j, p := range seg {
			if p.Segment.Start != s.Start || p.Segment.Target != s.Target || p.Segment.Discontinuity != s.Discontinuity ||
				len(p.Segment.Tracks) != len(s.Tracks) || p.Last != (j == len(seg)-1) || j > 0 && p.Number <= seg[j-1].Number {
				t.Errorf("segment %d: part %d differs: %+v", s.Number, p.Number, p.Segment)
			}
		}
		if length := end.End.Sub(s.Start); length <= 0 || length > s.Target+rounding {
			t.Errorf("segment %d lasts %v with target %v", s.Number, length, s.Target)
		}
		if i+1 < len(segs) && !segs[i+1][0].Segment.Discontinuity && end.End != segs[i+1][0].Segment.Start {
			t.Errorf("segment %d ends at %d, the next one starts at %d", s.Number, end.End, segs[i+1][0].Segment.Start)
		}
		checkSound(t, seg)
	}
}

// checkSound checks what holds for the audio of one segment's parts: only a feed's first
// segment has sound from before its first picture, and with it is no longer than the target.
func checkSound(t tb, seg []*live.Part) {
	t.Helper()
	s, end := seg[0].Segment, seg[len(seg)-1]
	from := s.Start
	if s.Number == 1 {
		from = from.Add(-maxLead)
	}
	for _, track := range s.Tracks {
		sound := frames(seg, track.ID)
		if track.ID == media.VideoTrack || len(sound) == 0 {
			continue
		}
		for _, f := range sound {
			if (f.PTS < from || !end.Final && f.PTS >= end.End) && len(s.Tracks) > 1 {
				t.Errorf("segment %d [%d, %d) holds audio at %d", s.Number, s.Start, end.End, f.PTS)
			}
		}
		if length := sound[len(sound)-1].End().Sub(sound[0].PTS); s.Number == 1 && length >= s.Target+500*time.Millisecond {
			t.Errorf("the first segment has %v of sound with target %v", length, s.Target)
		}
	}
}

// tb is what checks need of *testing.T and *rapid.T.
type tb interface {
	Helper()
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
	Logf(string, ...any)
}

package recorder

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/infra/media/mp4"
	"klive/storage"
	"klive/storage/ledger"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// The backup's own feed. The timeline holds what viewers see, which is recorded under server
// index 0. Each server of Kaltura's former media server recorded what its own encoder sent; where
// that is wanted (Options.Backup), the recorder follows each feed of index 1 on the media plane,
// keeps its segments as they came below backupRoot, and records them by a timeline of their own.
// Rungs are gaps there from the start, and are made again like others.

const (
	// backupRoot is where backup feeds rest until they are in files.
	backupRoot = "state/backup/"
	// backupPrefix begins the ids of their broadcasts.
	backupPrefix = "backup-"

	backupVersion   = 1
	maxBackupDoc    = 16 << 20 // bytes
	maxBackupInMind = 64 << 20 // bytes of a segment that is not complete
)

// backup is what one place of the backup encoder sends, from its first feed until it has been
// gone for Options.Resume.
type backup struct {
	r  *Recorder
	id live.FeedID
	// name is the id that its broadcast gets: one, so that what is tried again goes to the same
	// folder.
	name string

	// mu guards the fields below.
	mu        sync.Mutex
	doc       backupDoc
	etag      string
	following bool
}

// backupDoc is its stored form, one object that is written after each segment. What it holds is
// replaced and never changed.
type backupDoc struct {
	Version int `json:"v"`
	// Epoch is the fence: that of the ledger. WriteID is the newest write's.
	Epoch   uint64 `json:"epoch"`
	WriteID string `json:"writeId"`
	// Feed is the newest connect, LastPart the number of its last part that is stored, At when
	// that was.
	Feed     live.Feed `json:"feed"`
	LastPart uint64    `json:"lastPart"`
	At       time.Time `json:"at"`
	NextSeq  uint64    `json:"nextSeq"`
	// Over says that the feed has no more parts.
	Over    bool `json:"over,omitempty"`
	Partner int  `json:"partner"`
	Record  int  `json:"record"`
	// Jobs are what rungs are made by, so that all segments of one have the same parameters.
	Jobs      map[string]live.VideoJob `json:"jobs,omitempty"`
	Broadcast timeline.Broadcast       `json:"broadcast"`
}

func isBackup(broadcast string) bool { return strings.HasPrefix(broadcast, backupPrefix) }

func backupKey(entry, broadcast string) string {
	return backupRoot + entry + "/" + broadcast + ".json"
}

func backupFolder(entry, broadcast string) string { return backupRoot + entry + "/" + broadcast + "/" }

// mediaKey is where media of a recorded broadcast lie, initKey where an initialization section does.
func mediaKey(entry, broadcast, rendition, name string) string {
	if isBackup(broadcast) {
		return backupFolder(entry, broadcast) + rendition + "/" + name + ".m4s"
	}
	return playlist.MediaKey(rendition, broadcast, name)
}

func initKey(entry, broadcast, rendition string, n int) string {
	if isBackup(broadcast) {
		return fmt.Sprintf("%s%s/init-%d.mp4", backupFolder(entry, broadcast), rendition, n)
	}
	return playlist.InitKey(rendition, broadcast, n)
}

// broadcast is the backup's broadcast as far as it is stored.
func (b *backup) broadcast() *timeline.Broadcast {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.doc.Broadcast
	return &x
}

// next is a copy of the document that may be changed.
func (b *backup) next() *backupDoc {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.doc
	d.Jobs = maps.Clone(d.Jobs)
	d.Broadcast.Items = slices.Clone(d.Broadcast.Items)
	d.Broadcast.Renditions = slices.Clone(d.Broadcast.Renditions)
	return &d
}

// save stores the document on condition that it is this recorder's still.
func (b *backup) save(ctx context.Context, d *backupDoc) error {
	d.Version, d.Epoch, d.WriteID = backupVersion, b.r.book.Ledger().Epoch, rand.Text()
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	key := backupKey(b.r.Entry, d.Broadcast.ID)
	if len(data) > maxBackupDoc { // nobody could read it back
		return fmt.Errorf("recorder: %s would have more than %d bytes; its media are not in files yet", key, maxBackupDoc)
	}
	b.mu.Lock()
	etag := b.etag
	b.mu.Unlock()
	info, err := b.r.Store.Put(ctx, key, [][]byte{data}, storage.PutOptions{ContentType: "application/json", IfMatch: etag, IfAbsent: etag == ""})
	if errors.Is(err, storage.ErrPrecondition) {
		stored, now, loadErr := loadBackup(ctx, b.r.Store, key)
		switch {
		case loadErr != nil:
			return errors.Join(err, loadErr)
		case stored.Epoch > d.Epoch:
			return fmt.Errorf("%s: %w", key, ledger.ErrFenced)
		}
		// A write of this recorder whose answer was lost, or that of one before it.
		info, err = b.r.Store.Put(ctx, key, [][]byte{data}, storage.PutOptions{ContentType: "application/json", IfMatch: now})
	}
	if err != nil {
		return fmt.Errorf("recorder: %s: %w", key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doc, b.etag = *d, info.ETag
	return nil
}

func loadBackup(ctx context.Context, store storage.Store, key string) (*backupDoc, string, error) {
	body, info, err := store.Get(ctx, key, nil)
	if err != nil {
		return nil, "", fmt.Errorf("recorder: %s: %w", key, err)
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxBackupDoc+1))
	if err != nil {
		return nil, "", fmt.Errorf("recorder: %s: %w", key, err)
	}
	d := &backupDoc{}
	if len(data) > maxBackupDoc || json.Unmarshal(data, d) != nil || d.Version != backupVersion || !isBackup(d.Broadcast.ID) || !live.ValidEntryID(d.Feed.Entry) {
		return nil, "", fmt.Errorf("%w: %s", errBackupDoc, key)
	}
	return d, info.ETag, nil
}

var errBackupDoc = errors.New("recorder: what is stored of a backup feed can't be read; its last segments are not recorded")

// loadBackups takes up what a recorder before this one has left.
func (r *Recorder) loadBackups(ctx context.Context) error {
	root := backupRoot + r.Entry + "/"
	for o, err := range storage.All(ctx, r.Store, root) {
		if err != nil {
			return err
		}
		if name, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, root), ".json"); !ok || strings.Contains(name, "/") {
			continue
		}
		d, etag, err := loadBackup(ctx, r.Store, o.Key)
		if errors.Is(err, errBackupDoc) {
			r.Log.Error("a recording can't go on", "error", err)
			continue
		}
		if err != nil {
			return err
		}
		b := &backup{r: r, id: d.Feed.FeedID, name: d.Broadcast.ID, doc: *d, etag: etag}
		if err := b.save(ctx, b.next()); err != nil {
			return err
		}
		if err := r.beginBackup(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// beginBackup opens a session for a backup's broadcast, unless there was one.
func (r *Recorder) beginBackup(ctx context.Context, b *backup) error {
	x := b.next()
	r.mu.Lock()
	r.backups[x.Broadcast.ID] = b
	r.mu.Unlock()
	if r.book.Ledger().Knows(x.Broadcast.ID) {
		return nil
	}
	err := r.book.Change(ctx, func(l *ledger.Ledger) error {
		if !l.Knows(x.Broadcast.ID) {
			l.Sessions = append(l.Sessions, ledger.Session{Broadcast: x.Broadcast.ID, Partner: x.Partner, Record: x.Record, Index: int(live.Backup)})
		}
		return nil
	})
	if err == nil {
		r.Log.Info("recording the backup's own feed", "broadcast", x.Broadcast.ID, "feed", b.id)
	}
	return err
}

// lookup returns a broadcast of the timeline, or of a backup feed; nil when there is none.
func (r *Recorder) lookup(s *timeline.State, id string) *timeline.Broadcast {
	if isBackup(id) {
		r.mu.Lock()
		b := r.backups[id]
		r.mu.Unlock()
		if b == nil {
			return nil
		}
		return b.broadcast()
	}
	for _, b := range s.Broadcasts {
		if b.ID == id {
			return b
		}
	}
	return nil
}

// item makes an item of a segment: the pictures and the sound as they came, and the rungs as gaps.
func (b *backup) item(ctx context.Context, d *backupDoc, a *live.Assembly, g *live.Grant) error {
	x := &d.Broadcast
	if x.ID == "" {
		x.ID = b.name
		x.Start, x.Target = a.Start(), int((a.Segment.Target+time.Second-1)/time.Second)
		d.Partner, d.Record = g.PartnerID, g.Record
	}
	it := timeline.Item{Seq: d.NextSeq + 1, Start: a.Start(), Duration: a.Duration(), Dependent: !a.Segment.Independent,
		Discontinuity: a.Segment.Discontinuity || a.Feed != d.Feed || a.Start() != x.End}
	sound := ""
	for i := range g.Ladder.Rungs {
		r := &g.Ladder.Rungs[i]
		if t, ok := a.Track(media.Audio); ok && sound == "" && r.Audio.Mode != live.ModeDisable {
			name := live.SoundRendition(b.r.Entry, 1)
			if _, encode := live.AudioOf(r, name, t.Params.(media.AudioParams)); encode {
				b.r.sayOnce("sound that must be encoded is not recorded of the backup's own feed", "codec", t.Params.Codec())
			} else if stored, err := b.put(ctx, d, &it, a, t, name, live.Rung{}); err != nil {
				return err
			} else if stored {
				sound = name
			}
		}
	}
	for i := range g.Ladder.Rungs {
		r := &g.Ladder.Rungs[i]
		t, ok := a.Track(media.Video)
		switch {
		case !ok:
		case r.PassThrough():
			if _, err := b.put(ctx, d, &it, a, t, r.Rendition(b.r.Entry), *r); err != nil {
				return err
			}
		case r.Video.Mode == live.ModeEncode:
			b.gap(d, &it, a, t, r)
		}
	}
	for i := range x.Renditions {
		if v := &x.Renditions[i]; v.Kind == media.Video && it.Of(v.Name) != nil && sound != "" {
			v.Audio = sound
		}
	}
	if len(it.Media) == 0 {
		b.r.sayOnce("the backup's own feed makes no output that could be recorded; is there a rung that passes the source through?", "feed", b.id)
		return nil
	}
	x.Items, x.End, d.NextSeq = append(x.Items, it), it.End(), it.Seq
	return nil
}

// describe returns the rendition with the name, which is made if need be.
func describe(x *timeline.Broadcast, name string, kind media.Kind, rung live.Rung) *timeline.Rendition {
	i := slices.IndexFunc(x.Renditions, func(r timeline.Rendition) bool { return r.Name == name })
	if i < 0 {
		i = len(x.Renditions)
		x.Renditions = append(x.Renditions, timeline.Rendition{Name: name, Kind: kind})
	}
	x.Renditions[i].Rung = rung
	return &x.Renditions[i]
}

// put stores a track of a segment as it came.
func (b *backup) put(ctx context.Context, d *backupDoc, it *timeline.Item, a *live.Assembly, t media.Track, name string, rung live.Rung) (bool, error) {
	frames := a.Frames(t.ID)
	if len(frames) == 0 || it.Of(name) != nil {
		return false, nil
	}
	v := describe(&d.Broadcast, name, t.Params.Kind(), rung)
	init, err := mp4.Init(t)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errBackupSegment, err)
	}
	put := func(key string, data [][]byte) (storage.Info, error) {
		return b.r.Store.Put(ctx, key, data, storage.PutOptions{ContentType: "video/mp4"})
	}
	if sum := sha256.Sum256(init); v.InitSum != hex.EncodeToString(sum[:]) {
		v.Inits, v.InitSum = v.Inits+1, hex.EncodeToString(sum[:])
		if _, err := put(initKey(b.r.Entry, d.Broadcast.ID, name, v.Inits), [][]byte{init}); err != nil {
			return false, err
		}
	}
	m := timeline.Media{Rendition: name, Name: a.Name(), Start: it.Start, Duration: it.Duration, Init: v.Inits, Stored: true, Feed: a.Feed}
	if v.Kind == media.Audio {
		m.Start, m.Duration = frames[0].PTS, frames[len(frames)-1].End().Sub(frames[0].PTS)
	}
	pieces, err := mp4.Segment(t.Params, frames, uint32(it.Seq))
	if err != nil {
		return false, fmt.Errorf("%w: %w", errBackupSegment, err)
	}
	info, err := put(mediaKey(b.r.Entry, d.Broadcast.ID, name, m.Name), pieces)
	if err != nil {
		return false, err
	}
	m.Size = info.Size
	it.Media = append(it.Media, m)
	return true, nil
}

// errBackupSegment says that a segment can't be stored, however often it is tried.
var errBackupSegment = errors.New("recorder: a segment of the backup's own feed can't be recorded")

// gap says what a rung of the segment would be.
func (b *backup) gap(d *backupDoc, it *timeline.Item, a *live.Assembly, t media.Track, r *live.Rung) {
	name := r.Rendition(b.r.Entry)
	job, ok := d.Jobs[name]
	if !ok {
		p := t.Params.(media.VideoParams)
		w, h := p.DisplaySize()
		rate := p.FrameRate()
		if rate <= 0 {
			rate = float64(len(a.Frames(t.ID))) / max(a.Duration().Seconds(), 0.001)
		}
		if job, ok = live.RungOf(r, name, w, h, rate, a.Segment.Target, b.r.Options.Upscale); !ok {
			return
		}
		if d.Jobs == nil {
			d.Jobs = map[string]live.VideoJob{}
		}
		d.Jobs[name] = job
	}
	describe(&d.Broadcast, name, media.Video, *r).Encoded = true
	it.Media = append(it.Media, timeline.Media{Rendition: name, Name: a.Name(), Start: it.Start, Duration: it.Duration, Gap: true,
		Encode: &timeline.Encode{Feed: a.Feed, LastPart: a.Last, Video: &job}})
}

package controlplane

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strconv"
	"time"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// Times of the recorded entries' rules (contract §3.2), in seconds.
const (
	sessionGap     = 180
	recordedMaxAge = 7 * day
	recordedMaxMs  = day * 1000
	markedMaxAge   = 7 * day
)

type registerParams struct {
	EntryID      string      `api:"entryId"`
	Hostname     string      `api:"hostname"`
	Index        serverIndex `api:"mediaServerIndex"`
	Application  string      `api:"applicationName,default=kLive"`
	Status       nodeStatus  `api:"liveEntryStatus,default=1"`
	ShouldRecord bool        `api:"shouldCreateRecordedEntry,default=1"`
}

// registerMediaServer puts an entry on air, or keeps it there (contract §3.2).
func (s *Server) registerMediaServer(ctx context.Context, c *call, p registerParams) (any, error) {
	if s.config.Generation == Generation2015 {
		p.Status = kaltura.StatusPlayable
	}
	if err := checkHost(p.Hostname); err != nil {
		return nil, err
	}
	if err := s.requireServer(ctx, p.Hostname); err != nil {
		return nil, err
	}
	recorded := ""
	doc, err := s.changeEntry(ctx, c, p.EntryID, func(doc *entryDoc) error {
		fresh, err := s.register(ctx, doc, p, c.now.Unix())
		if err != nil {
			return err
		}
		wanted, err := s.wantsRecorded(ctx, *doc, p, fresh, c.now.Unix())
		if err != nil || !wanted {
			return err
		}
		if recorded == "" {
			if recorded, err = s.createRecorded(ctx, *doc, c.now.Unix()); err != nil {
				return err
			}
		}
		doc.Entry.RecordedEntryID = recorded
		doc.Sessions++
		return nil
	})
	if recorded != "" && (err != nil || doc.Entry.RecordedEntryID != recorded) {
		// Another call came first: the entry made here belongs to nothing.
		err = errors.Join(err, s.state.Delete(ctx, entryKey(recorded), 0))
	}
	if err != nil {
		return nil, err
	}
	return s.view(ctx, c, doc, "KalturaLiveStreamEntry")
}

// maxHost bounds host names: they are stored and shown.
const maxHost = 255

func checkHost(host string) error {
	if host == "" || len(host) > maxHost {
		return fail("PROPERTY_VALIDATION_MAX_LENGTH", "hostname must have 1 to 255 characters", "PROP_NAME", "hostname")
	}
	return nil
}

// register sets the registration and says whether a new broadcast session began with it.
func (s *Server) register(ctx context.Context, doc *entryDoc, p registerParams, now int64) (fresh bool, err error) {
	e := &doc.Entry
	n, known := doc.Nodes[int(p.Index)]
	fresh = !known || n.Hostname != p.Hostname || n.Status == kaltura.StatusAuthenticated || n.marked()
	if fresh {
		n.Since, n.Streams, n.Recording, n.Waiting = now, nil, nil, nil
		e.LastBroadcast = now
	}
	n.Hostname, n.Application, n.Status, n.Seen = p.Hostname, p.Application, int(p.Status), now
	if err := s.nodeID(ctx, &n); err != nil {
		return false, err
	}
	doc.place(int(p.Index), n)
	e.RedirectEntryID = ""
	begins := s.config.Generation == Generation2015 || p.Index == kaltura.IndexPrimary && p.Status == kaltura.StatusPlayable
	if e.FirstBroadcast == 0 && begins {
		e.FirstBroadcast = now
	}
	return fresh, nil
}

// wantsRecorded says whether the registration calls for a new recorded entry.
func (s *Server) wantsRecorded(ctx context.Context, doc entryDoc, p registerParams, fresh bool, now int64) (bool, error) {
	e := doc.Entry
	onAir := p.Status == kaltura.StatusBroadcasting || p.Status == kaltura.StatusPlayable
	if e.RecordStatus == kaltura.RecordDisabled || p.Index != kaltura.IndexPrimary || !onAir || !p.ShouldRecord {
		return false, nil
	}
	if e.RecordedEntryID == "" {
		return true, nil
	}
	if !fresh {
		return false, nil
	}
	if e.RecordStatus == kaltura.RecordPerSession {
		return now-e.LastBroadcastEndTime > sessionGap, nil
	}
	if s.config.Generation == Generation2015 {
		return false, nil
	}
	vod, err := load[entryDoc](ctx, s.state, entryKey(e.RecordedEntryID))
	if errors.Is(err, bus.ErrNotFound) {
		return true, nil
	}
	return err == nil && (now-vod.Entry.CreatedAt > recordedMaxAge || vod.Entry.MsDuration > recordedMaxMs), err
}

// createRecorded makes the VOD entry that recordings of a live entry go to.
func (s *Server) createRecorded(ctx context.Context, doc entryDoc, now int64) (string, error) {
	from := doc.Entry
	vod := entryDoc{Recorded: true}
	e := &vod.Entry
	e.Name, e.Description, e.UserID, e.CreatorID = from.Name, from.Description, from.UserID, from.CreatorID
	e.PartnerID, e.AccessControlID, e.ConversionProfileID = from.PartnerID, from.AccessControlID, from.ConversionProfileID
	e.ModerationStatus, e.RootEntryID, e.CreatedAt, e.UpdatedAt = from.ModerationStatus, from.ID, now, now
	e.Type, e.Status, e.MediaType, e.ReplacementStatus = kaltura.EntryMediaClip, kaltura.EntryStatusNoContent, 1, "0"
	e.SourceType = kaltura.SourceKalturaRecordedNow
	if s.config.Generation == Generation2015 {
		e.SourceType = kaltura.SourceRecordedLive
	}
	if from.RecordStatus == kaltura.RecordPerSession {
		e.Name += " " + strconv.Itoa(doc.Sessions+1)
	}
	for range 8 {
		e.ID = newID()
		if err := create(ctx, s.state, entryKey(e.ID), vod); !errors.Is(err, bus.ErrConflict) {
			return e.ID, err
		}
	}
	return "", errors.New("no free entry id found")
}

type unregisterParams struct {
	EntryID  string      `api:"entryId"`
	Hostname string      `api:"hostname"`
	Index    serverIndex `api:"mediaServerIndex"`
}

// unregisterMediaServer takes an entry off a media server (contract §3.3). A host that
// another has replaced changes nothing.
func (s *Server) unregisterMediaServer(ctx context.Context, c *call, p unregisterParams) (any, error) {
	now := s.config.Generation == GenerationNow
	if now && s.config.RequireServerNode {
		if _, known, err := s.server(ctx, p.Hostname); err != nil {
			return nil, err
		} else if !known {
			return nil, fail(kaltura.CodeNodeNotFound, "no media server "+short(p.Hostname), "HOST_NAME", short(p.Hostname))
		}
	}
	ready, err := s.recordingReady(ctx, c, p.EntryID)
	if err != nil {
		return nil, err
	}
	doc, err := s.changeEntry(ctx, c, p.EntryID, func(doc *entryDoc) error {
		n, ok := doc.Nodes[int(p.Index)]
		if !ok && now {
			index := strconv.Itoa(int(p.Index))
			return fail(kaltura.CodeEntryNodeNotFound, "entry "+p.EntryID+" is not on air under index "+index,
				"ENTRY_ID", p.EntryID, "SERVER_TYPE", index)
		}
		if !ok || n.Hostname != p.Hostname || n.marked() {
			return errKeep
		}
		s.leave(doc, int(p.Index), ready, c.now.Unix())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.view(ctx, c, doc, "KalturaLiveStreamEntry")
}

// recordingReady says whether the entry's recording has been delivered, or there is none.
func (s *Server) recordingReady(ctx context.Context, c *call, id string) (bool, error) {
	doc, err := s.liveEntry(ctx, c, id)
	if err != nil {
		return false, err
	}
	return s.delivered(ctx, doc)
}

func (s *Server) delivered(ctx context.Context, doc entryDoc) (bool, error) {
	if doc.Entry.RecordStatus == kaltura.RecordDisabled || doc.Entry.RecordedEntryID == "" {
		return true, nil
	}
	vod, err := load[entryDoc](ctx, s.state, entryKey(doc.Entry.RecordedEntryID))
	if errors.Is(err, bus.ErrNotFound) {
		return true, nil
	}
	return err == nil && vod.Entry.Status == kaltura.EntryStatusReady, err
}

// leave removes a registration and draws the consequences of the last one's going. Now
// a primary whose recording is still to come stays, marked for deletion.
func (s *Server) leave(doc *entryDoc, index int, recordingReady bool, now int64) {
	e := &doc.Entry
	n := doc.Nodes[index]
	broadcast := n.Status == kaltura.StatusPlayable || n.Status == kaltura.StatusBroadcasting
	doc.Nodes = maps.Clone(doc.Nodes)
	delete(doc.Nodes, index)
	if s.config.Generation == Generation2015 {
		if len(doc.Nodes) == 0 {
			s.offAir(e)
		}
	} else {
		switch {
		case recordingReady:
		case index == kaltura.IndexPrimary && broadcast:
			n.Status, n.Seen = kaltura.StatusMarkedForDeletion, now
			doc.place(index, n)
		case n.Waiting != nil:
			doc.place(index, *n.Waiting)
		}
		if bestStatus(*doc) != kaltura.StatusPlayable {
			s.offAir(e)
		}
	}
	if index == kaltura.IndexPrimary && broadcast {
		e.LastBroadcastEndTime = now
	}
}

// offAir is what happens to an entry that nobody broadcasts any more: players get the
// recording.
func (s *Server) offAir(e *kaltura.LiveStreamEntry) {
	e.CurrentBroadcastStartTime = 0
	if e.RecordedEntryID != "" {
		e.RedirectEntryID = e.RecordedEntryID
	}
	if e.ExplicitLive == 1 {
		e.ViewMode, e.RecordingStatus = 0, 0
	}
}

// sweep removes lapsed registrations until ctx ends.
func (s *Server) sweep(ctx context.Context) {
	ticker := time.NewTicker(s.config.Sweep)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := s.sweepOnce(ctx, time.Now().Unix()); err != nil && ctx.Err() == nil {
			s.log.Error("control plane sweep failed", "err", err)
		}
	}
}

func (s *Server) sweepOnce(ctx context.Context, now int64) error {
	all, err := loadAll[entryDoc](ctx, s.state, everyEntry)
	if err != nil {
		return err
	}
	failures := []error{s.sweepUploads(ctx, now), s.sweepUses(ctx, now)}
	for _, doc := range all {
		if len(s.lapsed(doc, now, true)) > 0 {
			failures = append(failures, s.sweepEntry(ctx, doc, now))
		}
	}
	return errors.Join(failures...)
}

// lapsed lists the indexes whose media server has not called for too long, and those that wait for
// no recording any more.
func (s *Server) lapsed(doc entryDoc, now int64, recordingReady bool) []int {
	var out []int
	for index, n := range doc.Nodes {
		longest := int64(s.config.Alive / time.Second)
		if n.marked() {
			longest = markedMaxAge
		}
		if n.marked() && recordingReady || now-n.Seen >= longest {
			out = append(out, index)
		}
	}
	return out
}

// tellLapsed logs a registration's end. Only that of one that was on the air says that something is wrong: encoders that
// were let in and never sent are not unregistered (contract row 54), and recordings may stay out for a week.
func (s *Server) tellLapsed(doc *entryDoc, index int, recordingReady bool) {
	n := doc.Nodes[index]
	level, what := slog.LevelInfo, "media server stopped calling; entry taken off it"
	switch {
	case n.Status == kaltura.StatusAuthenticated:
		level, what = slog.LevelDebug, "an encoder was let in and no stream of it began"
	case n.marked() && recordingReady:
		level, what = slog.LevelDebug, "the recording that was waited for is there"
	case n.marked():
		what = "the recording did not come; it is waited for no longer"
	}
	s.log.Log(context.Background(), level, what, "entry", doc.Entry.ID, "index", index, "hostname", n.Hostname)
}

func (s *Server) sweepEntry(ctx context.Context, doc entryDoc, now int64) error {
	ready, err := s.delivered(ctx, doc)
	if err != nil {
		return err
	}
	_, err = change(ctx, s.state, entryKey(doc.Entry.ID), func(doc *entryDoc) error {
		gone := s.lapsed(*doc, now, ready)
		if len(gone) == 0 {
			return errKeep
		}
		for _, index := range gone {
			s.tellLapsed(doc, index, ready)
			n := doc.Nodes[index]
			if s.config.Generation == Generation2015 || n.marked() {
				// In 2015 the batch left redirect and start time alone (contract §3.5); one that
				// waited went off the air when it began to.
				delete(doc.Nodes, index)
				continue
			}
			s.leave(doc, index, ready, now)
		}
		return nil
	})
	if errors.Is(err, bus.ErrNotFound) {
		return nil
	}
	return err
}

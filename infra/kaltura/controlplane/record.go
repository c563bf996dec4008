package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// recordingTable lists the actions of recordings.
func recordingTable() []action {
	return []action{
		on("liveStream", "appendRecording", mediaServers, everyPartner, (*Server).appendRecording),
		on("media", "get", anySession, everyPartner, (*Server).mediaGet),
		on("media", "cancelReplace", mediaServers, everyPartner, (*Server).cancelReplace),
	}
}

// RecordedFiles is where recorded files come from and rest.
type RecordedFiles interface {
	// Open reads a stored file from an offset on.
	Open(ctx context.Context, key string, offset int64) (io.ReadCloser, error)
	// Local reads the file that a media server names by its path on shared storage. The error
	// wraps fs.ErrNotExist when there is none.
	Local(ctx context.Context, path string) (io.ReadCloser, error)
}

// recording is what a live entry's document says of its recordings.
type recording struct {
	Segments []recordedSegment `json:"segments"`
}

// recordedSegment is one file that was appended.
type recordedSegment struct {
	VOD    string  `json:"vod,omitempty"`
	Asset  string  `json:"asset"`
	Params int     `json:"params"`
	Index  int     `json:"index,omitempty"`
	Anchor bool    `json:"anchor,omitempty"`
	Second float64 `json:"seconds"`
	Last   bool    `json:"last,omitempty"`
	// Token is the upload that the file came by. Its repeat is told that the token is gone.
	Token string `json:"token,omitempty"`
	// Path is the server file that it was copied from. Its repeat changes nothing (row 98).
	Path   string  `json:"path,omitempty"`
	Chunks []chunk `json:"chunks"`
	// Fit is what is joined in the file's place where it does not go together with the others as
	// it is: an MPEG-TS whose time line begins at tsStart. FitTo says what was encoded, and how.
	Fit   []chunk `json:"fit,omitempty"`
	FitTo string  `json:"fitTo,omitempty"`
}

const (
	// maxRecordedMs is Kaltura's max_live_recording_duration_hours and one more (contract §3.6).
	maxRecordedMs = 25 * 3600 * 1000
	// maxSegments keeps an entry's document within what the state takes.
	maxSegments = 3000
	// uploadClosed is the status of a token whose file is an entry's (KalturaUploadTokenStatus).
	uploadClosed = 3
)

type appendParams struct {
	EntryID  string       `api:"entryId"`
	AssetID  string       `api:"assetId"`
	Index    serverIndex  `api:"mediaServerIndex"`
	Resource kaltura.Node `api:"resource"`
	Duration float64      `api:"duration"`
	Last     bool         `api:"isLastChunk,default=0"`
}

// appendRecording adds a file to an entry's recording (contract §3.6).
func (s *Server) appendRecording(ctx context.Context, c *call, p appendParams) (any, error) {
	doc, err := s.liveEntry(ctx, c, p.EntryID)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(doc.Assets, func(a kaltura.LiveAsset) bool { return a.ID == p.AssetID && a.Status != kaltura.AssetDeleted })
	if at < 0 {
		return nil, fail(kaltura.CodeAssetNotFound, "entry "+p.EntryID+" has no live asset "+short(p.AssetID), "ID", short(p.AssetID))
	}
	if p.Duration < 0 {
		return nil, fail("PROPERTY_VALIDATION_MIN_VALUE", "duration must not be negative", "PROP_NAME", "duration", "PROP_MIN_VALUE", "0")
	}
	if err := doc.recordable(p); err != nil {
		return nil, err
	}
	if doc.holds(p) {
		return s.view(ctx, c, doc, "KalturaLiveStreamEntry")
	}
	a := doc.Assets[at]
	segment := recordedSegment{Asset: a.ID, Params: a.FlavorParamsID, Index: int(p.Index), Second: p.Duration, Last: p.Last,
		Anchor: slices.Contains(a.TagList(), anchorTag)}
	done, err := s.takeResource(ctx, c, doc, p.Resource, &segment)
	if err != nil {
		return nil, err
	}
	if segment.Index == kaltura.IndexPrimary && doc.Entry.RecordedEntryID == "" {
		if doc, err = s.giveRecorded(ctx, c, doc); err != nil {
			return nil, err
		}
	}
	added := false
	doc, err = s.changeEntry(ctx, c, p.EntryID, func(doc *entryDoc) error {
		added = false
		if err := doc.recordable(p); err != nil {
			return err
		}
		if doc.holds(p) {
			return errKeep
		}
		if segment.Token != "" && doc.used(segment.Token) {
			return noUpload() // a repeat that overtook this call
		}
		added = true
		segment.VOD = doc.Entry.RecordedEntryID
		doc.append(segment)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if added { // else the copy has a note by which the sweeper finds it
		done(ctx)
	}
	s.nudgeJoins()
	return s.view(ctx, c, doc, "KalturaLiveStreamEntry")
}

// holds says whether the server file was appended already: media servers never use a name for
// two files.
func (d *entryDoc) holds(p appendParams) bool {
	path := p.Resource.Path("localFilePath").Text
	return p.Resource.Class == "KalturaServerFileResource" && path != "" && d.Recording != nil &&
		slices.ContainsFunc(d.Recording.Segments, func(g recordedSegment) bool {
			return g.Path == path && g.Asset == p.AssetID && g.Index == int(p.Index)
		})
}

// used says whether a file that came by the upload token was appended.
func (d *entryDoc) used(token string) bool {
	return d.Recording != nil && slices.ContainsFunc(d.Recording.Segments, func(g recordedSegment) bool { return g.Token == token })
}

// recordable refuses what would make a recording too long.
func (d *entryDoc) recordable(p appendParams) error {
	if float64(d.recordedMs())+p.Duration*1000 > maxRecordedMs { // a float, which does not wrap
		return fail(kaltura.CodeRecordingFull, "the recording of entry "+p.EntryID+" would be longer than 25 hours", "ENTRY_ID", p.EntryID)
	}
	if d.Recording != nil && len(d.Recording.Segments) >= maxSegments {
		return fail(kaltura.CodeRecordingFull, "the recording of entry "+p.EntryID+" has as many files as one may have", "ENTRY_ID", p.EntryID)
	}
	return nil
}

// recordedMs is how long the present recording is: what the anchor's files add up to.
func (d *entryDoc) recordedMs() (ms int64) {
	if d.Recording == nil {
		return 0
	}
	for _, g := range d.Recording.Segments {
		if g.Anchor && g.Index == kaltura.IndexPrimary && g.VOD == d.Entry.RecordedEntryID {
			ms += int64(g.Second * 1000)
		}
	}
	return ms
}

// append adds a file; the anchor's alone tell the time (rows 101, 105).
func (d *entryDoc) append(g recordedSegment) {
	r := recording{}
	if d.Recording != nil {
		r.Segments = slices.Clone(d.Recording.Segments)
	}
	r.Segments = append(r.Segments, g)
	d.Recording = &r
	if !g.Anchor || g.Index != kaltura.IndexPrimary {
		return
	}
	e := &d.Entry
	e.MsDuration = d.recordedMs()
	e.Duration = e.MsDuration / 1000
	if g.Last {
		e.LastElapsedRecordingTime = e.MsDuration
	}
}

// giveRecorded makes the recorded entry of a live entry that has none (row 102).
func (s *Server) giveRecorded(ctx context.Context, c *call, doc entryDoc) (entryDoc, error) {
	vod, err := s.createRecorded(ctx, doc, c.now.Unix())
	if err != nil {
		return doc, err
	}
	changed, err := s.changeEntry(ctx, c, doc.Entry.ID, func(doc *entryDoc) error {
		if doc.Entry.RecordedEntryID != "" {
			return errKeep
		}
		doc.Entry.RecordedEntryID = vod
		doc.Sessions++
		return nil
	})
	if err != nil || changed.Entry.RecordedEntryID != vod {
		err = errors.Join(err, s.state.Delete(ctx, entryKey(vod), 0))
	}
	return changed, err
}

// takeResource makes a file of the store of what the caller names. done is called once the
// segment is written down.
func (s *Server) takeResource(ctx context.Context, c *call, doc entryDoc, r kaltura.Node, g *recordedSegment) (done func(context.Context), err error) {
	switch r.Class {
	case "KalturaUploadedFileTokenResource":
		return s.takeToken(ctx, c, doc, r.Path("token").Text, g)
	case "KalturaServerFileResource":
		path := r.Path("localFilePath").Text
		if path == "" {
			return nil, fail("PROPERTY_VALIDATION_CANNOT_BE_NULL", "localFilePath is required", "PROP_NAME", "localFilePath")
		}
		notFound := fail("LOCAL_FILE_NOT_FOUND", "there is no file at the path", "FILE", short(path))
		if s.config.Recorded == nil {
			return nil, notFound
		}
		body, err := s.config.Recorded.Local(ctx, path)
		if err != nil {
			s.log.Warn("a recorded file can't be read", "path", short(path), "err", err)
			return nil, notFound
		}
		g.Path = path
		return s.takeBody(ctx, body, g)
	case "KalturaUrlResource":
		if s.config.AcceptURLResource {
			return s.fetch(ctx, r.Path("url").Text, g)
		}
		return nil, fail("OBJECT_TYPE_ABSTRACT", "this server fetches no files from addresses: set control.acceptUrlResource to true where the control plane runs, or recording.strategy to uploadToken", "OBJECT_TYPE", "KalturaDataCenterContentResource")
	}
	return nil, fail("OBJECT_TYPE_ABSTRACT", "resource must be a KalturaServerFileResource or a KalturaUploadedFileTokenResource", "OBJECT_TYPE", "KalturaDataCenterContentResource")
}

// takeToken takes a whole upload. The token is closed first, so that its files belong to
// nobody else, and removed when the segment is written down; a call that died in between is
// made good by its repeat.
func (s *Server) takeToken(ctx context.Context, c *call, doc entryDoc, id string, g *recordedSegment) (func(context.Context), error) {
	t, err := s.uploadToken(ctx, c, id)
	if err != nil {
		return nil, err
	}
	remove := func(ctx context.Context) {
		if err := s.state.Delete(ctx, uploadKey(id), 0); err != nil {
			s.log.Warn("an upload token that was used could not be removed", "err", err)
		}
	}
	if doc.used(id) {
		remove(ctx)
		return nil, noUpload()
	}
	if t.Token.Status != kaltura.UploadFull && t.Token.Status != uploadClosed {
		return nil, fail(kaltura.CodeUploadTokenNotFull, "the upload is not complete", "ENTRY_ID", doc.Entry.ID)
	}
	if len(t.Chunks) == 0 {
		return nil, fail("UPLOADED_FILE_NOT_FOUND_BY_TOKEN", "the upload has no file")
	}
	t, err = change(ctx, s.state, uploadKey(id), func(t *uploadDoc) error {
		if t.Token.Status == uploadClosed {
			return errKeep
		}
		t.Token.Status, t.Token.UpdatedAt = uploadClosed, c.now.Unix()
		return nil
	})
	if errors.Is(err, bus.ErrNotFound) {
		return nil, noUpload()
	}
	g.Token, g.Chunks = id, t.Chunks
	return remove, err
}

// takeBody copies a file into the store.
func (s *Server) takeBody(ctx context.Context, body io.ReadCloser, g *recordedSegment) (func(context.Context), error) {
	defer body.Close()
	if s.config.Files == nil {
		return nil, fail("LOCAL_FILE_NOT_FOUND", "this server keeps no files", "FILE", "")
	}
	f := &incoming{}
	if err := s.storeFile(ctx, f, body, func() {}); err != nil {
		return nil, err
	}
	if f.size == 0 {
		return nil, errors.Join(fail("LOCAL_FILE_NOT_FOUND", "the file is empty", "FILE", ""), s.removeFile(ctx, f.key))
	}
	g.Chunks = []chunk{{f.key, f.size}}
	return func(ctx context.Context) { s.claimed(ctx, f) }, nil
}

// fetchWait bounds the fetching of a recorded file.
const fetchWait = time.Hour

// fetch gets a recorded file from an address.
func (s *Server) fetch(ctx context.Context, address string, g *recordedSegment) (func(context.Context), error) {
	bad := func(reason string) error {
		return fail("REMOTE_DOWNLOAD_FAILED", "the recorded file could not be fetched: "+reason)
	}
	if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		return nil, bad("want an address that begins with http:// or https://")
	}
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, bad("the address can't be read")
	}
	// A redirect could lead to where only this host may go.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the address, which may be signed
		}
		s.log.Warn("a recorded file can't be fetched", "host", req.URL.Host, "err", err)
		return nil, bad("its host does not answer")
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		return nil, bad(fmt.Sprintf("its host answers with status %d", res.StatusCode))
	}
	if most := s.config.Limits.File; most > 0 {
		res.Body = http.MaxBytesReader(nil, res.Body, most)
	}
	return s.takeBody(ctx, res.Body, g)
}

type mediaIDParams struct {
	EntryID string `api:"entryId"`
}

// mediaGet reads a recorded entry.
func (s *Server) mediaGet(ctx context.Context, c *call, p mediaIDParams) (any, error) {
	doc, err := s.recorded(ctx, c, p.EntryID)
	return doc.Entry.MediaEntry, err
}

// recorded reads a recorded entry that the caller may see. Errors: ENTRY_ID_NOT_FOUND.
func (s *Server) recorded(ctx context.Context, c *call, id string) (entryDoc, error) {
	doc, err := s.entry(ctx, c, id)
	if err == nil && doc.Entry.Type == kaltura.EntryLiveStream {
		err = noEntry(id)
	}
	doc.Entry.ObjectType = "KalturaMediaEntry"
	return doc, err
}

// cancelReplace takes back a replacement that is not ready (contract §3.12). What is joined is
// decided by the files that are there when it begins, so the next append begins it anew.
func (s *Server) cancelReplace(ctx context.Context, c *call, p mediaIDParams) (any, error) {
	if _, err := s.recorded(ctx, c, p.EntryID); err != nil {
		return nil, err
	}
	doc, err := change(ctx, s.state, entryKey(p.EntryID), func(doc *entryDoc) error {
		if doc.Entry.ReplacementStatus == "0" && doc.Entry.ReplacingEntryID == "" {
			return errKeep
		}
		doc.Entry.ReplacementStatus, doc.Entry.ReplacingEntryID = "0", ""
		return nil
	})
	doc.Entry.ObjectType = "KalturaMediaEntry"
	return doc.Entry.MediaEntry, err
}

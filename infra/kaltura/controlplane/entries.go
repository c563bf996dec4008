package controlplane

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

type entryIDParams struct {
	EntryID string `api:"entryId"`
}

// liveStreamGet reads a live entry (contract §3.11).
func (s *Server) liveStreamGet(ctx context.Context, c *call, p entryIDParams) (any, error) {
	doc, err := s.liveEntry(ctx, c, p.EntryID)
	if err != nil {
		return nil, err
	}
	return s.view(ctx, c, doc, adminClass(c))
}

// liveEntry reads an entry that must be a live stream.
func (s *Server) liveEntry(ctx context.Context, c *call, id string) (entryDoc, error) {
	doc, err := s.entry(ctx, c, id)
	if err == nil && doc.Entry.Type != kaltura.EntryLiveStream {
		return entryDoc{}, noEntry(id)
	}
	return doc, err
}

// adminClass is the class that get and list answer with.
func adminClass(c *call) string {
	if c.admin() {
		return "KalturaLiveStreamAdminEntry"
	}
	return "KalturaLiveStreamEntry"
}

type liveStreamListParams struct {
	Filter struct {
		IDEqual      string `json:"idEqual"`
		IDIn         string `json:"idIn"`
		NameLike     string `json:"nameLike"`
		SourceEqual  string `json:"sourceTypeEqual"`
		SourceIn     string `json:"sourceTypeIn"`
		ReferenceID  string `json:"referenceIdEqual"`
		PartnerEqual int    `json:"partnerIdEqual"`
		IsLive       *int   `json:"isLive"`
		NoRecorded   *int   `json:"isRecordedEntryIdEmpty"`
		OrderBy      string `json:"orderBy"`
	} `api:"filter,optional"`
	Pager pager `api:"pager,optional"`
}

// liveStreamList lists live entries, the newest first unless asked otherwise.
func (s *Server) liveStreamList(ctx context.Context, c *call, p liveStreamListParams) (any, error) {
	all, err := loadAll[entryDoc](ctx, s.state, everyEntry)
	if err != nil {
		return nil, err
	}
	f := p.Filter
	all = slices.DeleteFunc(all, func(d entryDoc) bool {
		e := d.Entry
		return !visible(c, d) || e.Type != kaltura.EntryLiveStream ||
			!matchText(e.ID, f.IDEqual, f.IDIn) || !matchText(e.SourceType, f.SourceEqual, f.SourceIn) ||
			!matchText(e.ReferenceID, f.ReferenceID, "") || !matchInt(e.PartnerID, f.PartnerEqual, "") ||
			!strings.Contains(strings.ToLower(e.Name), strings.ToLower(f.NameLike)) ||
			f.IsLive != nil && *f.IsLive >= 0 && (*f.IsLive == 1) != s.isLive(d) ||
			f.NoRecorded != nil && *f.NoRecorded >= 0 && (*f.NoRecorded == 1) != (e.RecordedEntryID == "")
	})
	orderEntries(all, f.OrderBy)
	out := kaltura.List[kaltura.LiveStreamEntry]{ClassName: "KalturaLiveStreamListResponse", TotalCount: len(all), Objects: []kaltura.LiveStreamEntry{}}
	for _, d := range page(all, p.Pager) {
		e, err := s.view(ctx, c, d, adminClass(c))
		if err != nil {
			return nil, err
		}
		out.Objects = append(out.Objects, e)
	}
	return out, nil
}

// orderEntries sorts by "+createdAt", "-name" and the like.
func orderEntries(all []entryDoc, by string) {
	down := strings.HasPrefix(by, "-") || by == ""
	field := strings.TrimLeft(by, "+- ")
	slices.SortFunc(all, func(a, b entryDoc) int {
		x, y := a.Entry, b.Entry
		var order int
		switch field {
		case "name":
			order = strings.Compare(x.Name, y.Name)
		case "updatedAt":
			order = cmp.Compare(x.UpdatedAt, y.UpdatedAt)
		default:
			order = cmp.Compare(x.CreatedAt, y.CreatedAt)
		}
		if down {
			order = -order
		}
		return cmp.Or(order, strings.Compare(x.ID, y.ID))
	})
}

type isLiveParams struct {
	ID       string `api:"id"`
	Protocol string `api:"protocol,optional"`
}

// liveStreamIsLive says whether an entry can be watched (contract §3.4). Who has no
// session may ask for any entry.
func (s *Server) liveStreamIsLive(ctx context.Context, c *call, p isLiveParams) (any, error) {
	if c.ks == nil {
		c.allPartners = true
	}
	if s.config.Generation == Generation2015 && p.Protocol == "" {
		return nil, fail("MISSING_MANDATORY_PARAMETER", "parameter protocol is required", "PARAM_NAME", "protocol")
	}
	doc, err := s.liveEntry(ctx, c, p.ID)
	if kaltura.IsCode(err, kaltura.CodeEntryNotFound) {
		return nil, fail("INVALID_ENTRY_ID", "no live entry "+short(p.ID), "ID", short(p.ID))
	}
	if err != nil {
		return nil, err
	}
	return s.isLive(doc), nil
}

type liveStreamAddParams struct {
	Entry  kaltura.Node `api:"liveStreamEntry"`
	Source sourceType   `api:"sourceType,default=32"`
}

// liveStreamAdd makes a live entry (contract §3.11).
func (s *Server) liveStreamAdd(ctx context.Context, c *call, p liveStreamAddParams) (any, error) {
	partner, err := load[Partner](ctx, s.state, partnerKey(c.partner))
	if err != nil {
		return nil, err
	}
	if !partner.LiveStream {
		return nil, forbidden(c)
	}
	var doc entryDoc
	e := &doc.Entry
	if partner.LiveRecord {
		e.RecordStatus = kaltura.RecordAppended
	}
	e.SourceType = string(p.Source)
	if given, ok := p.Entry.Get("sourceType"); ok && given.Text != "" && !slices.Contains([]string{kaltura.SourceLiveStream, kaltura.SourceLiveOnText}, given.Text) {
		return nil, fail("INVALID_ENUM_VALUE", "this server streams source types 32 and 42", "ENUM_VAL", given.Text, "PARAM_NAME", "sourceType", "ENUM_TYPE", "KalturaSourceType")
	}
	if err := applyEntry(e, p.Entry, true); err != nil {
		return nil, err
	}
	if e.ConversionProfileID == 0 {
		e.ConversionProfileID = partner.LiveProfile
	}
	prof, ok, err := s.profileFor(ctx, e.ConversionProfileID, c.sees)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, noProfile(e.ConversionProfileID)
	}
	if err := s.store(ctx, c, &doc, prof); err != nil {
		return nil, err
	}
	return s.view(ctx, c, doc, adminClass(c))
}

// store fills in what a new entry gets by itself and writes it under a fresh id; an id
// that is set already is kept.
func (s *Server) store(ctx context.Context, c *call, doc *entryDoc, p profile) error {
	e, now := &doc.Entry, c.now.Unix()
	e.PartnerID = c.partner
	if c.ks != nil {
		e.UserID = cmp.Or(e.UserID, c.ks.UserID)
		e.CreatorID = cmp.Or(e.CreatorID, c.ks.UserID)
	}
	e.Type, e.Status, e.MediaType, e.ModerationStatus = kaltura.EntryLiveStream, kaltura.EntryStatusReady, 201, 6
	e.CreatedAt, e.UpdatedAt = now, now
	e.ReplacementStatus = "0"
	e.StreamPassword = cmp.Or(e.StreamPassword, randomHex(4))
	keep := e.ID != ""
	for range 8 {
		if !keep {
			e.ID = newID()
		}
		e.RootEntryID = e.ID
		doc.Assets = liveAssets(*e, nil, p, now)
		err := create(ctx, s.state, entryKey(e.ID), doc)
		if keep || !errors.Is(err, bus.ErrConflict) {
			return err
		}
	}
	return errors.New("no free entry id found")
}

type liveStreamUpdateParams struct {
	EntryID string       `api:"entryId"`
	Entry   kaltura.Node `api:"liveStreamEntry"`
}

// liveStreamUpdate changes the properties that are given (contract §3.11).
func (s *Server) liveStreamUpdate(ctx context.Context, c *call, p liveStreamUpdateParams) (any, error) {
	return s.updateEntry(ctx, c, p.EntryID, p.Entry)
}

type baseEntryUpdateParams struct {
	EntryID string       `api:"entryId"`
	Entry   kaltura.Node `api:"baseEntry"`
}

// baseEntryUpdate does the same; media servers of 2015 set currentBroadcastStartTime
// with it.
func (s *Server) baseEntryUpdate(ctx context.Context, c *call, p baseEntryUpdateParams) (any, error) {
	return s.updateEntry(ctx, c, p.EntryID, p.Entry)
}

func (s *Server) updateEntry(ctx context.Context, c *call, id string, given kaltura.Node) (any, error) {
	doc, err := s.changeEntry(ctx, c, id, func(doc *entryDoc) error {
		before := doc.Entry
		if err := applyEntry(&doc.Entry, given, false); err != nil {
			return err
		}
		e := &doc.Entry
		if e.StreamPassword == "" {
			// Without token anybody could publish.
			e.StreamPassword = before.StreamPassword
		}
		if connected(*doc) {
			// These hold for a whole broadcast (contract §5.1).
			e.RecordStatus, e.DVRStatus, e.DVRWindow = before.RecordStatus, before.DVRStatus, before.DVRWindow
		}
		if e.ConversionProfileID != before.ConversionProfileID || e.RecordStatus != before.RecordStatus {
			p, ok, err := s.profileFor(ctx, e.ConversionProfileID, c.sees)
			if err != nil {
				return err
			}
			if !ok {
				return noProfile(e.ConversionProfileID)
			}
			doc.Assets = liveAssets(*e, doc.Assets, p, c.now.Unix())
		}
		e.UpdatedAt = c.now.Unix()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.view(ctx, c, doc, "KalturaLiveStreamEntry")
}

// writable are the properties that callers may set, with true for those that only a
// new entry takes.
func writable() map[string]bool {
	return map[string]bool{
		"name": false, "description": false, "userId": false, "tags": false, "adminTags": false, "categories": false,
		"partnerData": false, "accessControlId": false, "startDate": false, "endDate": false, "referenceId": false,
		"partnerSortValue": false, "conversionProfileId": false, "redirectEntryId": false, "offlineMessage": false,
		"recordStatus": false, "dvrStatus": false, "dvrWindow": false, "currentBroadcastStartTime": false,
		"recordingOptions": false, "segmentDuration": false, "explicitLive": false, "viewMode": false,
		"recordingStatus": false, "bitrates": false, "streamName": false, "streamPassword": false, "srtPass": false,
		"pushPublishEnabled": false, "encodingIP1": false, "encodingIP2": false, "sourceType": true, "templateEntryId": true,
	}
}

// limits of what one entry may hold, so that no document outgrows the state.
const (
	maxEntryText = 16 << 10
	maxBitrates  = 50
)

// applyEntry sets the writable properties of an entry.
func applyEntry(e *kaltura.LiveStreamEntry, given kaltura.Node, isNew bool) error {
	allowed := writable()
	picked := kaltura.Node{Kind: kaltura.KindObject}
	for _, m := range given.Members {
		onlyNew, ok := allowed[m.Name]
		if !ok || onlyNew && !isNew {
			continue
		}
		if len(m.Value.Text) > maxEntryText || len(m.Value.Members) > maxBitrates || len(m.Value.Items) > maxBitrates {
			return fail("PROPERTY_VALIDATION_MAX_LENGTH", "property "+m.Name+" is too long", "PROP_NAME", m.Name)
		}
		picked.Members = append(picked.Members, m)
	}
	if err := picked.Decode(e); err != nil {
		return decodeFailure(err)
	}
	return checkEntry(e)
}

// checkEntry holds the enumerated and numeric properties to their ranges.
func checkEntry(e *kaltura.LiveStreamEntry) error {
	for _, r := range []struct {
		name, class   string
		v, from, upTo int
	}{
		{"recordStatus", "KalturaRecordStatus", e.RecordStatus, 0, 2},
		{"dvrStatus", "KalturaDVRStatus", e.DVRStatus, 0, 1},
		{"viewMode", "KalturaViewMode", e.ViewMode, 0, 1},
		{"recordingStatus", "KalturaRecordingStatus", e.RecordingStatus, 0, 3},
	} {
		if r.v < r.from || r.v > r.upTo {
			return fail("INVALID_ENUM_VALUE", r.name+" must be "+strconv.Itoa(r.from)+" to "+strconv.Itoa(r.upTo),
				"ENUM_VAL", strconv.Itoa(r.v), "PARAM_NAME", r.name, "ENUM_TYPE", r.class)
		}
	}
	if e.DVRWindow < 0 {
		return fail("PROPERTY_VALIDATION_MIN_VALUE", "dvrWindow must not be negative", "PROP_NAME", "dvrWindow", "PROP_MIN_VALUE", "0")
	}
	return nil
}

// liveStreamDelete removes a live entry. Its recordings stay.
func (s *Server) liveStreamDelete(ctx context.Context, c *call, p entryIDParams) (any, error) {
	if _, err := s.liveEntry(ctx, c, p.EntryID); err != nil {
		return nil, err
	}
	return nil, s.state.Delete(ctx, entryKey(p.EntryID), 0)
}

// regenerateStreamToken draws a new publishing token.
func (s *Server) regenerateStreamToken(ctx context.Context, c *call, p entryIDParams) (any, error) {
	token := randomHex(4)
	doc, err := s.changeEntry(ctx, c, p.EntryID, func(doc *entryDoc) error {
		doc.Entry.StreamPassword, doc.Entry.UpdatedAt = token, c.now.Unix()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.view(ctx, c, doc, "KalturaLiveStreamEntry")
}

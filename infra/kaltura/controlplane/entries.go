package controlplane

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

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
		UserEqual    string `json:"userIdEqual"`
		StatusEqual  string `json:"statusEqual"`
		StatusIn     string `json:"statusIn"`
		TagsLike     string `json:"tagsLike"`
		AdminTags    string `json:"adminTagsLike"`
		CreatedFrom  int64  `json:"createdAtGreaterThanOrEqual"`
		CreatedTo    int64  `json:"createdAtLessThanOrEqual"`
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
			!matchText(e.UserID, f.UserEqual, "") || !matchText(e.Status, f.StatusEqual, f.StatusIn) ||
			!like(e.Tags, f.TagsLike) || !like(e.AdminTags, f.AdminTags) || e.CreatedAt < f.CreatedFrom || f.CreatedTo != 0 && e.CreatedAt > f.CreatedTo ||
			!like(e.Name, f.NameLike) || f.IsLive != nil && *f.IsLive >= 0 && (*f.IsLive == 1) != s.isLive(d) ||
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
	ID       string           `api:"id"`
	Protocol playbackProtocol `api:"protocol,optional"`
}

// liveStreamIsLive says whether an entry can be watched (contract §3.4). Who has no
// session may ask for any entry.
func (s *Server) liveStreamIsLive(ctx context.Context, c *call, p isLiveParams) (any, error) {
	if c.ks == nil {
		c.allPartners = true
	}
	if s.config.Generation == Generation2015 && p.Protocol == "" {
		return nil, missing("protocol")
	}
	doc, err := s.liveEntry(ctx, c, p.ID)
	if kaltura.IsCode(err, kaltura.CodeEntryNotFound) {
		return nil, fail("INVALID_ENTRY_ID", "no live entry "+short(p.ID), "ID", short(p.ID))
	}
	if err != nil {
		return nil, err
	}
	on := s.isLive(doc) && (c.admin() || !s.hidden(doc))
	c.public = offlineFor
	if on || s.config.Generation == Generation2015 {
		c.public = liveFor
	}
	return on, nil
}

// How long answers of isLive may be kept (contract §3.4).
const (
	liveFor    = 30 * time.Second
	offlineFor = 5 * time.Second
)

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
	var doc entryDoc
	e := &doc.Entry
	if partner.LiveRecord {
		e.RecordStatus = kaltura.RecordAppended
	}
	e.SourceType = string(p.Source)
	if given, ok := p.Entry.Get("sourceType"); ok && given.Text != "" && !slices.Contains([]string{kaltura.SourceLiveStream, kaltura.SourceLiveOnText}, given.Text) {
		return nil, fail("INVALID_ENUM_VALUE", "this server streams source types 32 and 42", "ENUM_VAL", given.Text, "PARAM_NAME", "sourceType", "ENUM_TYPE", "KalturaSourceType")
	}
	if err := applyEntry(e, p.Entry, true, c.now); err != nil {
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
	s.log.Info("live entry added", "entry", e.ID, "name", short(e.Name), "partner", e.PartnerID, "user", short(e.CreatorID))
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

// liveStreamDelete removes a live entry. Its recordings stay.
func (s *Server) liveStreamDelete(ctx context.Context, c *call, p entryIDParams) (any, error) {
	if _, err := s.liveEntry(ctx, c, p.EntryID); err != nil {
		return nil, err
	}
	if err := s.state.Delete(ctx, entryKey(p.EntryID), 0); err != nil {
		return nil, err
	}
	s.log.Info("live entry removed", "entry", p.EntryID, "partner", c.partner, "user", short(c.ks.UserID))
	return nil, nil
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

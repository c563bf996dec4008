package controlplane

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"klive/infra/bus"
	"klive/infra/kaltura"
	"klive/infra/live"
)

type idParams struct {
	ID int `api:"id"`
}

// flavorParamsGet reads one set of params (contract §3.9).
func (s *Server) flavorParamsGet(_ context.Context, _ *call, p idParams) (any, error) {
	params, ok := paramsByID(p.ID)
	if !ok {
		return nil, fail("FLAVOR_PARAMS_ID_NOT_FOUND", "no flavor params "+strconv.Itoa(p.ID), "ID", strconv.Itoa(p.ID))
	}
	return params, nil
}

type flavorParamsListParams struct {
	Filter struct {
		SystemName   string `json:"systemNameEqual"`
		SystemNameIn string `json:"systemNameIn"`
		TagsEqual    string `json:"tagsEqual"`
	} `api:"filter,optional"`
	Pager pager `api:"pager,optional"`
}

// flavorParamsList lists the params that the partner may use.
func (s *Server) flavorParamsList(_ context.Context, _ *call, p flavorParamsListParams) (any, error) {
	all := slices.DeleteFunc(systemParams(), func(lp kaltura.LiveParams) bool {
		return !matchText(lp.SystemName, p.Filter.SystemName, p.Filter.SystemNameIn) || !matchText(lp.Tags, p.Filter.TagsEqual, "")
	})
	return list("KalturaFlavorParamsListResponse", all, p.Pager), nil
}

type byProfileParams struct {
	ID int `api:"conversionProfileId"`
}

// flavorParamsByProfile lists a profile's params.
func (s *Server) flavorParamsByProfile(ctx context.Context, c *call, p byProfileParams) (any, error) {
	doc, ok, err := s.profileFor(ctx, p.ID, c.sees)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, noProfile(p.ID)
	}
	return doc.params(), nil
}

func noProfile(id int) error {
	text := strconv.Itoa(id)
	return fail("CONVERSION_PROFILE_ID_NOT_FOUND", "no live conversion profile "+text, "ID", text)
}

type flavorAssetListParams struct {
	Filter struct {
		EntryEqual string `json:"entryIdEqual"`
		EntryIn    string `json:"entryIdIn"`
		IDEqual    string `json:"idEqual"`
		IDIn       string `json:"idIn"`
		Params     int    `json:"flavorParamsIdEqual"`
		ParamsIn   string `json:"flavorParamsIdIn"`
	} `api:"filter,optional"`
	Pager pager `api:"pager,optional"`
}

// flavorAssetList lists the assets of entries (contract §3.10).
func (s *Server) flavorAssetList(ctx context.Context, c *call, p flavorAssetListParams) (any, error) {
	f := p.Filter
	entries := kaltura.SplitList(f.EntryIn)
	if f.EntryEqual != "" {
		entries = append(entries, f.EntryEqual)
	}
	if len(entries) == 0 {
		return nil, fail("PROPERTY_VALIDATION_CANNOT_BE_NULL", "name an entry in entryIdEqual or entryIdIn", "PROP_NAME", "entryIdEqual")
	}
	all := []kaltura.LiveAsset{}
	for _, id := range entries[:min(len(entries), 100)] {
		doc, err := s.entry(ctx, c, id)
		if err != nil && f.EntryEqual == id {
			return nil, err
		} else if err != nil {
			continue
		}
		for _, a := range doc.Assets {
			if a.Status != kaltura.AssetDeleted && matchText(a.ID, f.IDEqual, f.IDIn) && matchInt(a.FlavorParamsID, f.Params, f.ParamsIn) {
				all = append(all, a)
			}
		}
	}
	return list("KalturaFlavorAssetListResponse", all, p.Pager), nil
}

// entry reads an entry that the caller may see. Errors: ENTRY_ID_NOT_FOUND.
func (s *Server) entry(ctx context.Context, c *call, id string) (entryDoc, error) {
	if !live.ValidEntryID(id) {
		return entryDoc{}, noEntry(id)
	}
	doc, err := load[entryDoc](ctx, s.state, entryKey(id))
	if errors.Is(err, bus.ErrNotFound) {
		return entryDoc{}, noEntry(id)
	}
	if err == nil && !visible(c, doc) {
		err = noEntry(id)
	}
	return doc, err
}

// changeEntry changes a live entry that the caller may see; see change.
func (s *Server) changeEntry(ctx context.Context, c *call, id string, f func(*entryDoc) error) (entryDoc, error) {
	if !live.ValidEntryID(id) {
		return entryDoc{}, noEntry(id)
	}
	doc, err := change(ctx, s.state, entryKey(id), func(doc *entryDoc) error {
		if !visible(c, *doc) || doc.Entry.Type != kaltura.EntryLiveStream {
			return noEntry(id)
		}
		return f(doc)
	})
	if errors.Is(err, bus.ErrNotFound) {
		return entryDoc{}, noEntry(id)
	}
	return doc, err
}

func visible(c *call, doc entryDoc) bool {
	return doc.Entry.Status != kaltura.EntryStatusDeleted && c.sees(doc.Entry.PartnerID)
}

func noEntry(id string) error {
	return fail(kaltura.CodeEntryNotFound, "no entry "+short(id), "ENTRY_ID", short(id))
}

// liveAssets makes the assets of an entry for a profile, one per params. Assets that
// exist already are kept; those the profile has no more become deleted. The first of
// an entry that records is the recording's anchor (contract §3.10).
func liveAssets(entry kaltura.LiveStreamEntry, old []kaltura.LiveAsset, p profile, now int64) []kaltura.LiveAsset {
	out := slices.Clone(old)
	wanted := map[int]bool{}
	for _, lp := range p.params() {
		wanted[lp.ID] = true
		at := slices.IndexFunc(out, func(a kaltura.LiveAsset) bool {
			return a.FlavorParamsID == lp.ID && a.Status != kaltura.AssetDeleted
		})
		if at >= 0 {
			continue
		}
		out = append(out, kaltura.LiveAsset{
			ID: newID(), EntryID: entry.ID, PartnerID: entry.PartnerID, Tags: lp.Tags, CreatedAt: now, UpdatedAt: now,
			FlavorParamsID: lp.ID, Width: lp.Width, Height: lp.Height, Bitrate: lp.VideoBitrate + lp.AudioBitrate,
			FrameRate: lp.FrameRate, Status: kaltura.AssetReady,
		})
	}
	anchored := false
	for i := range out {
		a := &out[i]
		if a.Status != kaltura.AssetDeleted && !wanted[a.FlavorParamsID] {
			a.Status, a.UpdatedAt, a.DeletedAt = kaltura.AssetDeleted, now, now
		}
		anchored = anchored || a.Status != kaltura.AssetDeleted && slices.Contains(a.TagList(), anchorTag)
	}
	if !anchored && entry.RecordStatus != kaltura.RecordDisabled {
		for i := range out {
			if out[i].Status != kaltura.AssetDeleted {
				out[i].Tags += "," + anchorTag
				break
			}
		}
	}
	return out
}

// anchorTag marks the asset whose recording tells the time (contract §3.6).
const anchorTag = "recording_anchor"

package controlplane

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"klive/infra/kaltura"
)

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
	given := p.Entry
	switch given.Class {
	case "KalturaLiveStreamEntry", "KalturaLiveStreamAdminEntry":
	default:
		// Without that class it is a KalturaBaseEntry, which has fewer properties (contract §1.3).
		given.Members = slices.DeleteFunc(slices.Clone(given.Members), func(m kaltura.Member) bool { return !baseField(m.Name) })
	}
	return s.updateEntry(ctx, c, p.EntryID, given)
}

// baseField says whether a KalturaBaseEntry has the property.
func baseField(name string) bool {
	switch name {
	case "name", "description", "userId", "tags", "adminTags", "categories", "partnerData", "accessControlId", "startDate", "endDate",
		"referenceId", "partnerSortValue", "conversionProfileId", "redirectEntryId", "templateEntryId":
		return true
	}
	return false
}

// onAirFields are the properties that hold for a whole broadcast.
func onAirFields() []string {
	return []string{"dvrStatus", "dvrWindow", "recordStatus", "recordingOptions", "conversionProfileId", "segmentDuration", "explicitLive"}
}

// fixed refuses a change of what holds for a whole broadcast while there is one; in 2015
// recording and DVR were for new entries only (contract §5.1).
func (s *Server) fixed(before, after entryDoc) error {
	old, now := kaltura.ToNode(before.Entry), kaltura.ToNode(after.Entry)
	for _, name := range onAirFields() {
		if reflect.DeepEqual(old.Path(name), now.Path(name)) {
			continue
		}
		switch {
		case s.config.Generation == Generation2015 && (strings.HasPrefix(name, "dvr") || strings.HasPrefix(name, "record")):
			return fail("PROPERTY_VALIDATION_NOT_UPDATABLE", name+" is set when an entry is made, and stays", "PROP_NAME", name)
		case connected(before) && s.config.Generation != Generation2015:
			return fail("CANNOT_UPDATE_FIELDS_WHILE_ENTRY_BROADCASTING", name+" cannot change while the entry is on air: stop its encoders first", "FIELD", name)
		}
	}
	return nil
}

func (s *Server) updateEntry(ctx context.Context, c *call, id string, given kaltura.Node) (any, error) {
	doc, err := s.changeEntry(ctx, c, id, func(doc *entryDoc) error {
		whole, before := *doc, doc.Entry
		if err := applyEntry(&doc.Entry, given, false, c.now); err != nil {
			return err
		}
		e := &doc.Entry
		if e.StreamPassword == "" {
			// Without token anybody could publish.
			e.StreamPassword = before.StreamPassword
		}
		if err := s.fixed(whole, *doc); err != nil {
			return err
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
	maxEntrySize = 64 << 10
	maxBitrates  = 50
)

// applyEntry sets the writable properties of an entry.
func applyEntry(e *kaltura.LiveStreamEntry, given kaltura.Node, isNew bool, now time.Time) error {
	allowed := writable()
	picked := kaltura.Node{Kind: kaltura.KindObject}
	if given.Size() > maxEntrySize {
		return fail("PROPERTY_VALIDATION_MAX_LENGTH", "the entry's properties are too long together", "PROP_NAME", "liveStreamEntry")
	}
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
	e.StartDate, e.EndDate = absolute(e.StartDate, now), absolute(e.EndDate, now)
	return checkEntry(e)
}

// absolute reads a time as the API does: small values count from now (contract §1.3).
func absolute(seconds int64, now time.Time) int64 {
	const tenYears = 315360000
	if seconds != 0 && seconds > -tenYears && seconds < tenYears {
		return now.Unix() + seconds
	}
	return seconds
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

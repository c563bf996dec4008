package controlplane

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"klive/infra/bus"
	"klive/infra/kaltura"
)

// systemParams are the live params every partner has (contract §5.3): those of 2015 and
// the further ingest and HD params of today's servers.
func systemParams() []kaltura.LiveParams {
	const web = "mbr,ipadnew,iphonenew,web,mobile"
	out := []kaltura.LiveParams{
		{ID: 32, SystemName: "Source", Tags: "source,ingest,web,mobile", VideoBitrate: 900, Width: 640, Height: 480, StreamSuffix: "1"},
		{ID: 33, SystemName: "Basic_Small_400", Tags: web, VideoCodec: "h264b", VideoBitrate: 400, AudioBitrate: 64, Width: 480},
		{ID: 34, SystemName: "Basic_Small_600", Tags: web, VideoCodec: "h264b", VideoBitrate: 600, AudioBitrate: 64, Width: 640},
		{ID: 35, SystemName: "SD_Small_900", Tags: "mbr,ipadnew,web,mobile", VideoCodec: "h264m", VideoBitrate: 900, AudioBitrate: 64, Width: 640},
		{ID: 36, SystemName: "Ingest_2", Tags: "mbr,ingest,web,mobile", VideoBitrate: 400, Width: 480, Height: 360, StreamSuffix: "2"},
		{ID: 37, SystemName: "Ingest_3", Tags: "mbr,ingest,web,mobile", VideoBitrate: 600, Width: 640, Height: 480, StreamSuffix: "3"},
		{ID: 38, Name: "Multicast transcode", Tags: "multicast_silverlight", VideoCodec: "h264b", VideoBitrate: 360, AudioBitrate: 40, Width: 640, StreamSuffix: "1"},
		{ID: 39, SystemName: "Ingest_4", Tags: "mbr,ingest,web,mobile", VideoBitrate: 900, Height: 540, StreamSuffix: "4"},
		{ID: 40, SystemName: "Ingest_5", Tags: "mbr,ingest,web,mobile", VideoBitrate: 1500, Height: 720, StreamSuffix: "5"},
		{ID: 41, SystemName: "Ingest_6", Tags: "mbr,ingest,web,mobile", VideoBitrate: 2500, Height: 720, StreamSuffix: "6"},
		{ID: 42, Name: "HD 1700", Tags: "mbr,ipadnew,web,mobile,optional_flavor", VideoCodec: "h264h", VideoBitrate: 1700, AudioBitrate: 128, Height: 720},
		{ID: 43, Name: "HD 2600", Tags: "mbr,ipadnew,web,mobile,optional_flavor", VideoCodec: "h264h", VideoBitrate: 2600, AudioBitrate: 128, Height: 720},
		{ID: 44, Name: "HD 4000", Tags: "mbr,ipadnew,web,mobile,optional_flavor", VideoCodec: "h264h", VideoBitrate: 4000, AudioBitrate: 128, Height: 1080},
		{ID: 47, SystemName: "Ingest_7", Tags: "mbr,ingest,web,mobile", VideoBitrate: 4000, Height: 1080, StreamSuffix: "7"},
	}
	for i := range out {
		p := &out[i]
		p.IsSystemDefault = 1
		if p.Name == "" {
			p.Name = p.SystemName
		}
		if p.AudioBitrate != 0 {
			p.AudioCodec, p.AudioChannels, p.AudioSampleRate = "aac", 2, 44100
		}
		if slices.Contains(p.TagList(), "optional_flavor") {
			p.ConversionEnginesExtra = `{"constantBitrate":1}`
		}
	}
	return out
}

// paramsByID finds live params.
func paramsByID(id int) (kaltura.LiveParams, bool) {
	all := systemParams()
	i := slices.IndexFunc(all, func(p kaltura.LiveParams) bool { return p.ID == id })
	if i < 0 {
		return kaltura.LiveParams{}, false
	}
	return all[i], true
}

// source is one member of a default profile.
type source struct{ id, origin int }

// defaultProfiles are those each partner starts with. The origins of "Cloud transcode"
// are today's: those of 2015 made a profile without transcodes (contract §10.11).
func defaultProfiles() []struct {
	name, systemName string
	members          []source
} {
	const ingest, convert = kaltura.OriginIngest, kaltura.OriginConvert
	return []struct {
		name, systemName string
		members          []source
	}{
		{"Passthrough", "Passthrough_Live", []source{{32, ingest}, {36, ingest}, {37, ingest}}},
		{"Cloud transcode", "Default_Live", []source{{32, ingest}, {33, convert}, {34, convert}, {35, convert}}},
		{"Multicast", "Multicast_Default", []source{{32, ingest}, {38, convert}}},
	}
}

// firstProfile is the number after which profile ids start.
const firstProfile = 500

// addProfiles makes the default profiles of a partner and returns their ids by name.
func (s *Server) addProfiles(ctx context.Context, partner int) (map[string]int, error) {
	ids := map[string]int{}
	for _, d := range defaultProfiles() {
		n, err := s.state.Next(ctx, profileIDs)
		if err != nil {
			return nil, err
		}
		id := firstProfile + int(n)
		p := profile{ID: id, PartnerID: partner, Name: d.name, SystemName: d.systemName}
		for _, m := range d.members {
			params, _ := paramsByID(m.id)
			p.Assets = append(p.Assets, kaltura.ProfileAssetParams{ConversionProfileID: id, AssetParamsID: m.id, Origin: m.origin, SystemName: params.SystemName})
		}
		if err := create(ctx, s.state, profileKey(id), p); err != nil {
			return nil, err
		}
		ids[d.name] = id
	}
	return ids, nil
}

// profileFor reads a profile that the partner may use; ok is false when there is none.
func (s *Server) profileFor(ctx context.Context, id int, sees func(partner int) bool) (p profile, ok bool, err error) {
	p, err = load[profile](ctx, s.state, profileKey(id))
	if errors.Is(err, bus.ErrNotFound) {
		return profile{}, false, nil
	}
	if err != nil || p.PartnerID != 0 && !sees(p.PartnerID) {
		return profile{}, false, err
	}
	return p, true, nil
}

// params lists a profile's live params in its order.
func (p profile) params() []kaltura.LiveParams {
	var out []kaltura.LiveParams
	for _, a := range p.Assets {
		if lp, ok := paramsByID(a.AssetParamsID); ok {
			out = append(out, lp)
		}
	}
	return out
}

// origin is where the profile gets the params from.
func (p profile) origin(params int) int {
	for _, a := range p.Assets {
		if a.AssetParamsID == params {
			return a.Origin
		}
	}
	return kaltura.OriginConvert
}

// transcodes says whether entries of the profile need a transcoder. In 2015 that was
// any params without tag ingest, now it is any of origin CONVERT (contract §3.1).
func (p profile) transcodes(g Generation) bool {
	if g == Generation2015 {
		return slices.ContainsFunc(p.params(), func(lp kaltura.LiveParams) bool { return !lp.HasTag("ingest") })
	}
	return slices.ContainsFunc(p.Assets, func(a kaltura.ProfileAssetParams) bool { return a.Origin == kaltura.OriginConvert })
}

// view is the profile as the API shows it; preferred is the partner's default.
func (p profile) view(preferred int) kaltura.ConversionProfile {
	var ids []string
	for _, a := range p.Assets {
		ids = append(ids, strconv.Itoa(a.AssetParamsID))
	}
	v := kaltura.ConversionProfile{
		ID: p.ID, PartnerID: p.PartnerID, Status: kaltura.EntryStatusReady, Type: kaltura.ProfileTypeLive,
		Name: p.Name, SystemName: p.SystemName, FlavorParamsIDs: strings.Join(ids, ","),
	}
	if p.ID == preferred {
		v.IsDefault = 1
	}
	return v
}

// conversionProfileGet reads a profile.
func (s *Server) conversionProfileGet(ctx context.Context, c *call, p idParams) (any, error) {
	doc, ok, err := s.profileFor(ctx, p.ID, c.sees)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, noProfile(p.ID)
	}
	partner, err := load[Partner](ctx, s.state, partnerKey(doc.PartnerID))
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return nil, err
	}
	return doc.view(partner.LiveProfile), nil
}

type profileListParams struct {
	Filter struct {
		IDEqual    int    `json:"idEqual"`
		IDIn       string `json:"idIn"`
		TypeEqual  string `json:"typeEqual"`
		TypeIn     string `json:"typeIn"`
		NameEqual  string `json:"nameEqual"`
		SystemName string `json:"systemNameEqual"`
	} `api:"filter,optional"`
	Pager pager `api:"pager,optional"`
}

// conversionProfileList lists the caller's profiles.
func (s *Server) conversionProfileList(ctx context.Context, c *call, p profileListParams) (any, error) {
	f := p.Filter
	all, err := s.profilesOf(ctx, c, f.IDEqual, f.IDIn)
	if err != nil {
		return nil, err
	}
	partner, err := load[Partner](ctx, s.state, partnerKey(c.partner))
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return nil, err
	}
	out := []kaltura.ConversionProfile{}
	for _, doc := range all {
		if matchText(kaltura.ProfileTypeLive, f.TypeEqual, f.TypeIn) && matchText(doc.Name, f.NameEqual, "") && matchText(doc.SystemName, f.SystemName, "") {
			out = append(out, doc.view(partner.LiveProfile))
		}
	}
	return list("KalturaConversionProfileListResponse", out, p.Pager), nil
}

type profileAssetsParams struct {
	Filter struct {
		ProfileEqual  int    `json:"conversionProfileIdEqual"`
		ProfileIn     string `json:"conversionProfileIdIn"`
		AssetEqual    int    `json:"assetParamsIdEqual"`
		AssetIn       string `json:"assetParamsIdIn"`
		OriginEqual   *int   `json:"originEqual"`
		OriginIn      string `json:"originIn"`
		ReadyEqual    *int   `json:"readyBehaviorEqual"`
		ReadyIn       string `json:"readyBehaviorIn"`
		SystemName    string `json:"systemNameEqual"`
		SystemNamesIn string `json:"systemNameIn"`
	} `api:"filter,optional"`
	Pager pager `api:"pager,optional"`
}

// profileAssetsList lists which params belong to a profile (contract §3.8).
func (s *Server) profileAssetsList(ctx context.Context, c *call, p profileAssetsParams) (any, error) {
	f := p.Filter
	profiles, err := s.profilesOf(ctx, c, f.ProfileEqual, f.ProfileIn)
	if err != nil {
		return nil, err
	}
	all := []kaltura.ProfileAssetParams{}
	for _, doc := range profiles {
		for _, a := range doc.Assets {
			if matchInt(a.AssetParamsID, f.AssetEqual, f.AssetIn) && matchPtr(a.Origin, f.OriginEqual, f.OriginIn) &&
				matchPtr(a.ReadyBehavior, f.ReadyEqual, f.ReadyIn) && matchText(a.SystemName, f.SystemName, f.SystemNamesIn) {
				all = append(all, a)
			}
		}
	}
	return list("KalturaConversionProfileAssetParamsListResponse", all, p.Pager), nil
}

// profilesOf reads the named profiles, or all that the caller sees when none is named.
func (s *Server) profilesOf(ctx context.Context, c *call, equal int, in string) ([]profile, error) {
	var ids []int
	if equal != 0 {
		ids = append(ids, equal)
	}
	for _, text := range kaltura.SplitList(in) {
		if id, err := strconv.Atoi(text); err == nil && (equal == 0 || id == equal) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) == 0 && equal == 0 && in == "" {
		all, err := loadAll[profile](ctx, s.state, everyProfile)
		all = slices.DeleteFunc(all, func(p profile) bool { return p.PartnerID != 0 && !c.sees(p.PartnerID) })
		slices.SortFunc(all, func(a, b profile) int { return a.ID - b.ID })
		return all, err
	}
	var out []profile
	for _, id := range ids[:min(len(ids), 500)] {
		p, ok, err := s.profileFor(ctx, id, c.sees)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, p)
		}
	}
	return out, nil
}

// list makes a list answer of one page.
func list[T kaltura.Classed](class string, all []T, p pager) kaltura.List[T] {
	return kaltura.List[T]{ClassName: class, Objects: page(all, p), TotalCount: len(all)}
}

func matchInt(v, equal int, in string) bool {
	return (equal == 0 || v == equal) && (in == "" || slices.Contains(kaltura.SplitList(in), strconv.Itoa(v)))
}

func matchPtr(v int, equal *int, in string) bool {
	return (equal == nil || v == *equal) && (in == "" || slices.Contains(kaltura.SplitList(in), strconv.Itoa(v)))
}

func matchText(v, equal, in string) bool {
	return (equal == "" || v == equal) && (in == "" || slices.Contains(kaltura.SplitList(in), v))
}

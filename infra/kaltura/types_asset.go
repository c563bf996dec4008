package kaltura

import (
	"slices"
	"strings"
)

// LiveParams is KalturaLiveParams (contract §5.3): what one output of a live entry is to
// be. Bitrates are in kbit/s; 0 in a size keeps the aspect ratio.
type LiveParams struct {
	ID                        int     `json:"id"`
	PartnerID                 int     `json:"partnerId"`
	Name                      string  `json:"name"`
	SystemName                string  `json:"systemName,omitzero"`
	Description               string  `json:"description,omitzero"`
	CreatedAt                 int64   `json:"createdAt,omitzero"`
	IsSystemDefault           int     `json:"isSystemDefault"`
	Tags                      string  `json:"tags"`
	RequiredPermissions       []Node  `json:"requiredPermissions,omitzero"`
	VideoCodec                string  `json:"videoCodec"`
	VideoBitrate              int     `json:"videoBitrate"`
	AudioCodec                string  `json:"audioCodec"`
	AudioBitrate              int     `json:"audioBitrate"`
	AudioChannels             int     `json:"audioChannels"`
	AudioSampleRate           int     `json:"audioSampleRate"`
	Width                     int     `json:"width"`
	Height                    int     `json:"height"`
	FrameRate                 float64 `json:"frameRate"`
	GOPSize                   int     `json:"gopSize"`
	ConversionEngines         string  `json:"conversionEngines,omitzero"`
	ConversionEnginesExtra    string  `json:"conversionEnginesExtraParams,omitzero"`
	TwoPass                   bool    `json:"twoPass"`
	Deinterlace               int     `json:"deinterlice,omitzero"` // spelt so on the wire
	Format                    string  `json:"format,omitzero"`
	AspectRatioProcessingMode int     `json:"aspectRatioProcessingMode,omitzero"`
	MaxFrameRate              int     `json:"maxFrameRate,omitzero"`
	// StreamSuffix is the ingest stream the params belong to: "1", "2"; empty for
	// outputs that only a transcoder makes.
	StreamSuffix string `json:"streamSuffix,omitzero"`
}

// KalturaClass implements Classed.
func (LiveParams) KalturaClass() string { return "KalturaLiveParams" }

// TagList splits the params' tags.
func (p LiveParams) TagList() []string { return SplitList(p.Tags) }

// HasTag says whether the params carry a tag.
func (p LiveParams) HasTag(tag string) bool { return slices.Contains(p.TagList(), tag) }

// LiveAsset is KalturaLiveAsset (contract §5.4): one output of one entry.
type LiveAsset struct {
	ID             string  `json:"id"`
	EntryID        string  `json:"entryId"`
	PartnerID      int     `json:"partnerId"`
	Version        int     `json:"version"`
	Size           int64   `json:"size"`
	Tags           string  `json:"tags"`
	FileExt        string  `json:"fileExt,omitzero"`
	CreatedAt      int64   `json:"createdAt,omitzero"`
	UpdatedAt      int64   `json:"updatedAt,omitzero"`
	DeletedAt      int64   `json:"deletedAt,omitzero"`
	Description    string  `json:"description,omitzero"`
	FlavorParamsID int     `json:"flavorParamsId"`
	Width          int     `json:"width"`
	Height         int     `json:"height"`
	Bitrate        int     `json:"bitrate"`
	FrameRate      float64 `json:"frameRate"`
	IsOriginal     bool    `json:"isOriginal"`
	IsWeb          bool    `json:"isWeb"`
	Container      string  `json:"containerFormat,omitzero"`
	VideoCodecID   string  `json:"videoCodecId,omitzero"`
	Status         int     `json:"status"`
	MulticastIP    string  `json:"multicastIP,omitzero"`
	MulticastPort  int     `json:"multicastPort,omitzero"`
}

// KalturaClass implements Classed.
func (LiveAsset) KalturaClass() string { return "KalturaLiveAsset" }

// TagList splits the asset's tags.
func (a LiveAsset) TagList() []string { return SplitList(a.Tags) }

// Asset states (KalturaFlavorAssetStatus).
const (
	AssetReady   = 2
	AssetDeleted = 3
)

// Origins of an asset (KalturaAssetParamsOrigin).
const (
	OriginConvert            = 0
	OriginIngest             = 1
	OriginConvertWhenMissing = 2
)

// ProfileAssetParams is KalturaConversionProfileAssetParams (contract §5.5).
type ProfileAssetParams struct {
	ConversionProfileID int    `json:"conversionProfileId"`
	AssetParamsID       int    `json:"assetParamsId"`
	ReadyBehavior       int    `json:"readyBehavior"`
	Origin              int    `json:"origin"`
	SystemName          string `json:"systemName,omitzero"`
	ForceNoneComplied   int    `json:"forceNoneComplied,omitzero"`
	DeletePolicy        int    `json:"deletePolicy,omitzero"`
}

// KalturaClass implements Classed.
func (ProfileAssetParams) KalturaClass() string { return "KalturaConversionProfileAssetParams" }

// MediaServer is KalturaMediaServer (contract §5.6).
type MediaServer struct {
	ID        int    `json:"id"`
	DC        int    `json:"dc"`
	Hostname  string `json:"hostname"`
	CreatedAt int64  `json:"createdAt"`
	UpdatedAt int64  `json:"updatedAt"`
}

// KalturaClass implements Classed.
func (MediaServer) KalturaClass() string { return "KalturaMediaServer" }

// List is a list answer: some of the objects and how many there are in all.
type List[T Classed] struct {
	// ClassName is the objectType of the answer.
	ClassName  string `json:"-"`
	Objects    []T    `json:"objects"`
	TotalCount int    `json:"totalCount"`
}

// KalturaClass implements Classed.
func (l List[T]) KalturaClass() string { return l.ClassName }

// SplitList splits a comma-separated list and drops blanks and empty items.
func SplitList(text string) []string {
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// Media server indexes (KalturaMediaServerIndex).
const (
	IndexPrimary = 0
	IndexBackup  = 1
)

// States of an entry on a media server (KalturaEntryServerNodeStatus).
const (
	StatusStopped           = 0
	StatusPlayable          = 1
	StatusBroadcasting      = 2
	StatusAuthenticated     = 3
	StatusMarkedForDeletion = 4
)

// Source types of entries that a media server handles (KalturaSourceType).
const (
	SourceLiveStream         = "32"
	SourceRecordedLive       = "34"
	SourceKalturaRecordedNow = "36"
	SourceLiveOnText         = "42"
)

// Entry types (KalturaEntryType) and states (KalturaEntryStatus).
const (
	EntryMediaClip  = "1"
	EntryLiveStream = "7"

	EntryStatusReady     = "2"
	EntryStatusDeleted   = "3"
	EntryStatusNoContent = "7"
)

// Record states (KalturaRecordStatus).
const (
	RecordDisabled   = 0
	RecordAppended   = 1
	RecordPerSession = 2
)

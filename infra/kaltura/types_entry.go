package kaltura

// BaseEntry is KalturaBaseEntry (contract §5.1). Times are seconds since the Unix epoch.
type BaseEntry struct {
	// ObjectType is the class the entry came with or is to be written with.
	ObjectType           string  `json:"objectType,omitzero"`
	ID                   string  `json:"id"`
	Name                 string  `json:"name,omitzero"`
	Description          string  `json:"description,omitzero"`
	PartnerID            int     `json:"partnerId"`
	UserID               string  `json:"userId,omitzero"`
	CreatorID            string  `json:"creatorId,omitzero"`
	Tags                 string  `json:"tags,omitzero"`
	AdminTags            string  `json:"adminTags,omitzero"`
	Categories           string  `json:"categories,omitzero"`
	CategoriesIDs        string  `json:"categoriesIds,omitzero"`
	Status               string  `json:"status,omitzero"`
	ModerationStatus     int     `json:"moderationStatus,omitzero"`
	ModerationCount      int     `json:"moderationCount"`
	Type                 string  `json:"type,omitzero"`
	CreatedAt            int64   `json:"createdAt,omitzero"`
	UpdatedAt            int64   `json:"updatedAt,omitzero"`
	Rank                 float64 `json:"rank"`
	TotalRank            int     `json:"totalRank"`
	Votes                int     `json:"votes"`
	GroupID              int     `json:"groupId,omitzero"`
	PartnerData          string  `json:"partnerData,omitzero"`
	DownloadURL          string  `json:"downloadUrl,omitzero"`
	SearchText           string  `json:"searchText,omitzero"`
	LicenseType          int     `json:"licenseType,omitzero"`
	Version              int     `json:"version"`
	ThumbnailURL         string  `json:"thumbnailUrl,omitzero"`
	AccessControlID      int     `json:"accessControlId,omitzero"`
	StartDate            int64   `json:"startDate,omitzero"`
	EndDate              int64   `json:"endDate,omitzero"`
	ReferenceID          string  `json:"referenceId,omitzero"`
	ReplacingEntryID     string  `json:"replacingEntryId,omitzero"`
	ReplacedEntryID      string  `json:"replacedEntryId,omitzero"`
	ReplacementStatus    string  `json:"replacementStatus,omitzero"`
	PartnerSortValue     int     `json:"partnerSortValue"`
	ConversionProfileID  int     `json:"conversionProfileId,omitzero"`
	RedirectEntryID      string  `json:"redirectEntryId,omitzero"`
	RootEntryID          string  `json:"rootEntryId,omitzero"`
	ParentEntryID        string  `json:"parentEntryId,omitzero"`
	OperationAttributes  []Node  `json:"operationAttributes,omitzero"`
	EntitledUsersEdit    string  `json:"entitledUsersEdit,omitzero"`
	EntitledUsersPublish string  `json:"entitledUsersPublish,omitzero"`
	EntitledUsersView    string  `json:"entitledUsersView,omitzero"`
	Capabilities         string  `json:"capabilities,omitzero"`
	TemplateEntryID      string  `json:"templateEntryId,omitzero"`
	DisplayInSearch      int     `json:"displayInSearch,omitzero"`
	Application          string  `json:"application,omitzero"`
	ApplicationVersion   string  `json:"applicationVersion,omitzero"`
}

// PlayableEntry is KalturaPlayableEntry (contract §5.1).
type PlayableEntry struct {
	BaseEntry
	Plays        int   `json:"plays"`
	Views        int   `json:"views"`
	LastPlayedAt int64 `json:"lastPlayedAt,omitzero"`
	Width        int   `json:"width,omitzero"`
	Height       int   `json:"height,omitzero"`
	// Duration is in seconds, MsDuration in milliseconds.
	Duration     int64  `json:"duration"`
	MsDuration   int64  `json:"msDuration"`
	DurationType string `json:"durationType,omitzero"`
}

// MediaEntry is KalturaMediaEntry (contract §5.1).
type MediaEntry struct {
	PlayableEntry
	MediaType          int    `json:"mediaType,omitzero"`
	ConversionQuality  string `json:"conversionQuality,omitzero"`
	SourceType         string `json:"sourceType,omitzero"`
	SourceVersion      string `json:"sourceVersion,omitzero"`
	SearchProviderType int    `json:"searchProviderType,omitzero"`
	SearchProviderID   string `json:"searchProviderId,omitzero"`
	CreditUserName     string `json:"creditUserName,omitzero"`
	CreditURL          string `json:"creditUrl,omitzero"`
	MediaDate          int64  `json:"mediaDate,omitzero"`
	DataURL            string `json:"dataUrl,omitzero"`
	// FlavorParamsIDs is a comma-separated list.
	FlavorParamsIDs string `json:"flavorParamsIds,omitzero"`
}

// LiveEntry is KalturaLiveEntry (contract §5.1).
type LiveEntry struct {
	MediaEntry
	OfflineMessage string `json:"offlineMessage,omitzero"`
	RecordStatus   int    `json:"recordStatus"`
	DVRStatus      int    `json:"dvrStatus"`
	// DVRWindow is in minutes.
	DVRWindow int `json:"dvrWindow"`
	// LastElapsedRecordingTime is in milliseconds.
	LastElapsedRecordingTime int64                     `json:"lastElapsedRecordingTime"`
	LiveStreamConfigurations []LiveStreamConfiguration `json:"liveStreamConfigurations,omitzero"`
	RecordedEntryID          string                    `json:"recordedEntryId,omitzero"`
	PushPublishEnabled       int                       `json:"pushPublishEnabled"`
	PublishConfigurations    []Node                    `json:"publishConfigurations,omitzero"`
	FirstBroadcast           int64                     `json:"firstBroadcast,omitzero"`
	LastBroadcast            int64                     `json:"lastBroadcast,omitzero"`
	// CurrentBroadcastStartTime is in seconds with a fraction; 0 is off air.
	CurrentBroadcastStartTime float64          `json:"currentBroadcastStartTime"`
	RecordingOptions          RecordingOptions `json:"recordingOptions,omitzero"`
	LiveStatus                int              `json:"liveStatus"`
	// SegmentDuration is in milliseconds; 0 when the server does not know the field.
	SegmentDuration      int   `json:"segmentDuration,omitzero"`
	ExplicitLive         int   `json:"explicitLive,omitzero"`
	ViewMode             int   `json:"viewMode,omitzero"`
	RecordingStatus      int   `json:"recordingStatus,omitzero"`
	LastBroadcastEndTime int64 `json:"lastBroadcastEndTime,omitzero"`
	BroadcastTime        int64 `json:"broadcastTime,omitzero"`
}

// LiveStreamEntry is KalturaLiveStreamEntry (contract §5.1), also in its form for
// administrators (KalturaLiveStreamAdminEntry).
type LiveStreamEntry struct {
	LiveEntry
	StreamRemoteID                  string    `json:"streamRemoteId,omitzero"`
	StreamRemoteBackupID            string    `json:"streamRemoteBackupId,omitzero"`
	Bitrates                        []Bitrate `json:"bitrates,omitzero"`
	PrimaryBroadcastingURL          string    `json:"primaryBroadcastingUrl,omitzero"`
	SecondaryBroadcastingURL        string    `json:"secondaryBroadcastingUrl,omitzero"`
	PrimarySecuredBroadcastingURL   string    `json:"primarySecuredBroadcastingUrl,omitzero"`
	SecondarySecuredBroadcastingURL string    `json:"secondarySecuredBroadcastingUrl,omitzero"`
	PrimaryRTSPBroadcastingURL      string    `json:"primaryRtspBroadcastingUrl,omitzero"`
	SecondaryRTSPBroadcastingURL    string    `json:"secondaryRtspBroadcastingUrl,omitzero"`
	PrimarySRTBroadcastingURL       string    `json:"primarySrtBroadcastingUrl,omitzero"`
	PrimarySRTStreamID              string    `json:"primarySrtStreamId,omitzero"`
	SecondarySRTBroadcastingURL     string    `json:"secondarySrtBroadcastingUrl,omitzero"`
	SecondarySRTStreamID            string    `json:"secondarySrtStreamId,omitzero"`
	StreamName                      string    `json:"streamName,omitzero"`
	StreamURL                       string    `json:"streamUrl,omitzero"`
	HLSStreamURL                    string    `json:"hlsStreamUrl,omitzero"`
	URLManager                      string    `json:"urlManager,omitzero"`
	EncodingIP1                     string    `json:"encodingIP1,omitzero"`
	EncodingIP2                     string    `json:"encodingIP2,omitzero"`
	// StreamPassword is the token that encoders publish with.
	StreamPassword string `json:"streamPassword,omitzero"`
	StreamUsername string `json:"streamUsername,omitzero"`
	SRTPass        string `json:"srtPass,omitzero"`
}

// KalturaClass implements Classed.
func (e LiveStreamEntry) KalturaClass() string {
	if e.ObjectType != "" {
		return e.ObjectType
	}
	return "KalturaLiveStreamEntry"
}

// KalturaClass implements Classed.
func (e MediaEntry) KalturaClass() string { return "KalturaMediaEntry" }

// LiveStreamConfiguration is one playback address of an entry (contract §5.2).
type LiveStreamConfiguration struct {
	Protocol   string `json:"protocol"`
	URL        string `json:"url,omitzero"`
	PublishURL string `json:"publishUrl,omitzero"`
	BackupURL  string `json:"backupUrl,omitzero"`
	StreamName string `json:"streamName,omitzero"`
}

// KalturaClass implements Classed.
func (LiveStreamConfiguration) KalturaClass() string { return "KalturaLiveStreamConfiguration" }

// Bitrate is one ingest bitrate that an entry announces; the bitrate is in kbit/s.
type Bitrate struct {
	Bitrate int    `json:"bitrate"`
	Width   int    `json:"width"`
	Height  int    `json:"height"`
	Tags    string `json:"tags,omitzero"`
}

// KalturaClass implements Classed.
func (Bitrate) KalturaClass() string { return "KalturaLiveStreamBitrate" }

// RecordingOptions is KalturaLiveEntryRecordingOptions (contract §5.9); its fields are
// nullable booleans (-1, 0, 1).
type RecordingOptions struct {
	ShouldCopyEntitlement int    `json:"shouldCopyEntitlement,omitzero"`
	ShouldCopyScheduling  int    `json:"shouldCopyScheduling,omitzero"`
	ShouldCopyThumbnail   int    `json:"shouldCopyThumbnail,omitzero"`
	ShouldMakeHidden      int    `json:"shouldMakeHidden,omitzero"`
	ShouldAutoArchive     int    `json:"shouldAutoArchive,omitzero"`
	NonDeletedCuePoints   string `json:"nonDeletedCuePointsTags,omitzero"`
}

// KalturaClass implements Classed.
func (RecordingOptions) KalturaClass() string { return "KalturaLiveEntryRecordingOptions" }

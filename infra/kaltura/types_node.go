package kaltura

// ServerNode is KalturaWowzaMediaServerNode (contract §5.8): a media server as today's
// servers know it. Times are seconds since the Unix epoch.
type ServerNode struct {
	ID            int    `json:"id"`
	PartnerID     int    `json:"partnerId"`
	CreatedAt     int64  `json:"createdAt"`
	UpdatedAt     int64  `json:"updatedAt"`
	HeartbeatTime int64  `json:"heartbeatTime,omitzero"`
	Name          string `json:"name,omitzero"`
	SystemName    string `json:"systemName,omitzero"`
	Description   string `json:"description,omitzero"`
	HostName      string `json:"hostName"`
	Status        int    `json:"status"`
	Type          string `json:"type"`
	Tags          string `json:"tags,omitzero"`
	DC            int    `json:"dc"`
	ParentID      string `json:"parentId,omitzero"`
	// Environment separates sets of media servers that must not broadcast one entry at once.
	Environment     string `json:"environment,omitzero"`
	Config          string `json:"config,omitzero"`
	ApplicationName string `json:"applicationName,omitzero"`
	AppPrefix       string `json:"appPrefix,omitzero"`
	Transcoder      string `json:"transcoder,omitzero"`
	GPUID           *int   `json:"GPUID,omitzero"`
}

// KalturaClass implements Classed.
func (ServerNode) KalturaClass() string { return WowzaNode }

// WowzaNode is the class of media servers, and WowzaNodeType its type on the wire.
const (
	WowzaNode     = "KalturaWowzaMediaServerNode"
	WowzaNodeType = "wowza.WOWZA_MEDIA_SERVER"
)

// States of a server node (KalturaServerNodeStatus).
const (
	NodeActive         = 1
	NodeDisabled       = 2
	NodeDeleted        = 3
	NodeNotRegistered  = 4
	NodeNotOperational = 5
)

// EntryServerNode is KalturaLiveEntryServerNode (contract §5.8): an entry on a media server.
type EntryServerNode struct {
	ID           int64  `json:"id"`
	EntryID      string `json:"entryId"`
	ServerNodeID int    `json:"serverNodeId"`
	PartnerID    int    `json:"partnerId"`
	CreatedAt    int64  `json:"createdAt"`
	UpdatedAt    int64  `json:"updatedAt"`
	Status       int    `json:"status"`
	// ServerType is the media server index as text.
	ServerType    string          `json:"serverType"`
	Streams       []NodeStream    `json:"streams,omitzero"`
	RecordingInfo []NodeRecording `json:"recordingInfo,omitzero"`
	ViewMode      int             `json:"viewMode,omitzero"`
}

// NodeStream is KalturaLiveStreamParams: one output of an entry on a media server. The bitrate
// is in bit/s, the interval of keyframes in seconds.
type NodeStream struct {
	Bitrate          int     `json:"bitrate"`
	FlavorID         string  `json:"flavorId"`
	Width            int     `json:"width"`
	Height           int     `json:"height"`
	Codec            string  `json:"codec,omitzero"`
	FrameRate        int     `json:"frameRate,omitzero"`
	KeyFrameInterval float64 `json:"keyFrameInterval,omitzero"`
	Language         string  `json:"language,omitzero"`
}

// KalturaClass implements Classed.
func (NodeStream) KalturaClass() string { return "KalturaLiveStreamParams" }

// NodeRecording is KalturaLiveEntryServerNodeRecordingInfo; the duration is in milliseconds.
type NodeRecording struct {
	RecordedEntryID string `json:"recordedEntryId"`
	Duration        int64  `json:"duration"`
	RecordingStatus int    `json:"recordingStatus"`
}

// KalturaClass implements Classed.
func (NodeRecording) KalturaClass() string { return "KalturaLiveEntryServerNodeRecordingInfo" }

// KalturaClass implements Classed.
func (EntryServerNode) KalturaClass() string { return "KalturaLiveEntryServerNode" }

// LiveStreamDetails is KalturaLiveStreamDetails: what an entry does on its media servers.
type LiveStreamDetails struct {
	PrimaryStreamStatus   int  `json:"primaryStreamStatus"`
	SecondaryStreamStatus int  `json:"secondaryStreamStatus"`
	ViewMode              int  `json:"viewMode"`
	WasBroadcast          bool `json:"wasBroadcast"`
	BroadcastStatus       int  `json:"broadcastStatus"`
}

// KalturaClass implements Classed.
func (LiveStreamDetails) KalturaClass() string { return "KalturaLiveStreamDetails" }

// What viewers see of an entry (KalturaLiveStreamBroadcastStatus).
const (
	BroadcastOffline = 1
	BroadcastPreview = 2
	BroadcastLive    = 3
)

// SessionInfo is KalturaSessionInfo: what a session string says.
type SessionInfo struct {
	KS          string `json:"ks"`
	SessionType int    `json:"sessionType"`
	PartnerID   int    `json:"partnerId"`
	UserID      string `json:"userId"`
	Expiry      int64  `json:"expiry"`
	Privileges  string `json:"privileges"`
}

// KalturaClass implements Classed.
func (SessionInfo) KalturaClass() string { return "KalturaSessionInfo" }

// ConversionProfile is KalturaConversionProfile, as far as live entries go.
type ConversionProfile struct {
	ID         int    `json:"id"`
	PartnerID  int    `json:"partnerId"`
	Status     string `json:"status"`
	Type       string `json:"type"`
	Name       string `json:"name"`
	SystemName string `json:"systemName,omitzero"`
	// FlavorParamsIDs is a comma-separated list.
	FlavorParamsIDs string `json:"flavorParamsIds"`
	IsDefault       int    `json:"isDefault"`
}

// KalturaClass implements Classed.
func (ConversionProfile) KalturaClass() string { return "KalturaConversionProfile" }

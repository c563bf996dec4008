package controlplane

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"klive/infra/kaltura"
)

// Partner is one customer account, as stored.
type Partner struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
	// AdminSecret signs all sessions; UserSecret can only ask session.start for a user's.
	AdminSecret string `json:"adminSecret"`
	UserSecret  string `json:"userSecret,omitempty"`
	// Status is one of the Partner constants.
	Status int `json:"status"`
	// LiveStream, LiveRecord and LiveTranscode are the features the partner has;
	// MediaServer lets it run media servers of its own (contract §2.5, mode 2).
	LiveStream    bool `json:"liveStream"`
	LiveRecord    bool `json:"liveRecord"`
	LiveTranscode bool `json:"liveTranscode"`
	MediaServer   bool `json:"mediaServer"`
	// MaxInputs and MaxTranscoded limit the entries on air at once; negative is no
	// limit. Without LiveTranscode the second counts as 0.
	MaxInputs     int `json:"maxInputs"`
	MaxTranscoded int `json:"maxTranscoded"`
	// AdminTags limits the entries on air that carry an admin tag.
	AdminTags map[string]int `json:"adminTags,omitempty"`
	// EveryOutput turns off that outputs which the encoder's picture does not reach are
	// left out of its template (FEATURE_KALTURA_LIVE_DISABLE_SMART_TRANSCODING).
	EveryOutput bool `json:"everyOutput,omitempty"`
	// MaxSession is the longest session in seconds; 0 is a day.
	MaxSession int64 `json:"maxSession,omitempty"`
	// LiveProfile is the conversion profile of entries that name none.
	LiveProfile int `json:"liveProfile,omitempty"`
}

// Partner states (contract §4).
const (
	PartnerDeleted      = 0
	PartnerActive       = 1
	PartnerContentBlock = 2
	PartnerFullBlock    = 3
	PartnerReadOnly     = 4
)

// PartnerLimits are the entries a partner may have on air; see Partner.
type PartnerLimits struct{ Inputs, Transcoded int }

// Unlimited as Partner.MaxInputs or MaxTranscoded is no limit.
const Unlimited = -1

func (p Partner) blocked() bool { return p.Status != PartnerActive && p.Status != PartnerReadOnly }

// profile is a conversion profile: which outputs an entry has and where they come from.
type profile struct {
	ID         int                          `json:"id"`
	PartnerID  int                          `json:"partnerId"`
	Name       string                       `json:"name"`
	SystemName string                       `json:"systemName"`
	Assets     []kaltura.ProfileAssetParams `json:"assets"`
}

// entryDoc is an entry with what belongs to it alone. Times are Unix seconds.
type entryDoc struct {
	Entry  kaltura.LiveStreamEntry `json:"entry"`
	Assets []kaltura.LiveAsset     `json:"assets,omitempty"`
	// Nodes are the media servers the entry is on, by server index.
	Nodes map[int]node `json:"nodes,omitempty"`
	// Recorded marks a VOD entry that recordings of a live entry go to.
	Recorded bool `json:"recorded,omitempty"`
	// Sessions counts the recorded entries made so far, for their names.
	Sessions int `json:"sessions,omitempty"`
	// Recording is what was appended to a live entry, Flavors what a recorded one consists of.
	Recording *recording  `json:"recording,omitempty"`
	Flavors   []vodFlavor `json:"flavors,omitempty"`
}

// node is the registration of an entry on one media server.
type node struct {
	// ID is the registration's number; 0 in documents of klive before it had one.
	ID          int64  `json:"id,omitempty"`
	Hostname    string `json:"hostname"`
	Application string `json:"application,omitempty"`
	Status      int    `json:"status"`
	// Since is when this host came, Seen its last call.
	Since int64 `json:"since"`
	Seen  int64 `json:"seen"`
	// Streams and Recording are what the live controller says of it.
	Streams   []kaltura.NodeStream    `json:"streams,omitempty"`
	Recording []kaltura.NodeRecording `json:"recording,omitempty"`
	// Waiting is the registration that waited for its recording here before an encoder was let in;
	// it does so again when that does not broadcast.
	Waiting *node `json:"waiting,omitempty"`
}

// marked says that the registration is over and waits for its recording.
func (n *node) marked() bool { return n.Status == kaltura.StatusMarkedForDeletion }

// serverNode is a media server that reported itself.
type serverNode struct {
	kaltura.MediaServer
	// Environment separates sets of media servers that must not broadcast one entry at
	// once; empty is unknown.
	Environment string `json:"environment,omitempty"`
	// Node is what today's servers know of it besides; its host name, times and
	// environment are those above.
	Node kaltura.ServerNode `json:"node,omitzero"`
}

// settings is the document that holds what the first start drew.
type settings struct {
	// Seeded says that the demonstration data were written.
	Seeded bool `json:"seeded"`
}

// uploadDoc is an upload token with the files that its chunks came in.
type uploadDoc struct {
	Token  kaltura.UploadToken `json:"token"`
	Chunks []chunk             `json:"chunks,omitempty"`
}

// chunk is one file of an upload, of which the first Size bytes count.
type chunk struct {
	File string `json:"file"`
	Size int64  `json:"size"`
}

// Keys. Everything that comes from a request is checked or hashed before it gets here.
const (
	entryPrefix   = "entry."
	profilePrefix = "profile."
	uploadPrefix  = "uploadtoken."
	everyUpload   = uploadPrefix + "*"
	usesPrefix    = "uses."
	everyUses     = usesPrefix + "*"
	everyEntry    = entryPrefix + "*"
	everyProfile  = profilePrefix + "*"
	settingsKey   = "settings"
	profileIDs    = "counter.profile"
	serverIDs     = "counter.mediaserver"
	nodeIDs       = "counter.entryservernode"
	serverPrefix  = "mediaserver."
	everyServer   = serverPrefix + "*"
)

func partnerKey(id int) string     { return "partner." + strconv.Itoa(id) }
func entryKey(id string) string    { return entryPrefix + id }
func profileKey(id int) string     { return profilePrefix + strconv.Itoa(id) }
func uploadKey(id string) string   { return uploadPrefix + id }
func usesKey(ks string) string     { return usesPrefix + digest(ks) }
func logoutKey(ks string) string   { return "logout." + digest(ks) }
func serverKey(host string) string { return serverPrefix + digest(host) }

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

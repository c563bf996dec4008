// Package config reads klive's one configuration: a YAML file, the environment above it
// and the defaults below it. Reading is strict. Every key of the file is a leaf of
// [Config]; the key "rtmp.maxChunkStreams" is KLIVE_RTMP_MAX_CHUNK_STREAMS in the
// environment. All mistakes are reported at once, each with its place and what would be
// right.
package config

import (
	"net/netip"
	"strings"
	"time"
)

// Config is the whole configuration. Its leaves are the keys, documented one by one in
// klive.example.yaml.
//
// Tags: "yaml" names the key; "min" and "max" bound a number, duration or size; "oneof"
// lists the valid words; "is" names a form that the text must have (see forms.go);
// "reload" marks a key that a running klive takes over from a changed file.
type Config struct {
	Log       Log       `yaml:"log"`
	Telemetry Telemetry `yaml:"telemetry"`
	Data      string    `yaml:"data" is:"path"`
	Bus       Bus       `yaml:"bus"`
	RTMP      RTMP      `yaml:"rtmp"`
	RTMPS     RTMPS     `yaml:"rtmps"`
	SRT       SRT       `yaml:"srt"`
	WHIP      WHIP      `yaml:"whip"`
	WebRTC    WebRTC    `yaml:"webrtc"`
	Push      Push      `yaml:"push"`
	TLS       TLS       `yaml:"tls"`
	HTTP      HTTP      `yaml:"http"`
	HTTPS     HTTPS     `yaml:"https"`
	Admin     Admin     `yaml:"admin"`
	Gateway   Gateway   `yaml:"gateway"`
	Limits    Limits    `yaml:"limits"`
	Segment   Segment   `yaml:"segment"`
	Part      Part      `yaml:"part"`
	HLS       HLS       `yaml:"hls"`
	Broadcast Broadcast `yaml:"broadcast"`
	Failover  Failover  `yaml:"failover"`
	DVR       DVR       `yaml:"dvr"`
	Thumbnail Thumbnail `yaml:"thumbnail"`
	Viewer    Viewer    `yaml:"viewer"`
	Storage   Storage   `yaml:"storage"`
	Kaltura   Kaltura   `yaml:"kaltura"`
	Control   Control   `yaml:"control"`
	Internal  Internal  `yaml:"internal"`
	Cluster   Cluster   `yaml:"cluster"`
	Worker    Worker    `yaml:"worker"`
	Transcode Transcode `yaml:"transcode"`
	Spool     Spool     `yaml:"spool"`
	Sweeper   Sweeper   `yaml:"sweeper"`
	Recording Recording `yaml:"recording"`
}

// Log is how klive tells what it does.
type Log struct {
	Level  string `yaml:"level" oneof:"debug,info,warn,error" reload:"yes"`
	Format string `yaml:"format" oneof:"text,json"`
}

// Telemetry is what klive tells of itself beside its log and its metrics.
type Telemetry struct {
	Traces     Traces     `yaml:"traces"`
	CloudWatch CloudWatch `yaml:"cloudwatch"`
}

// CloudWatch gets metrics as lines of the process's output.
type CloudWatch struct {
	// Namespace is where they appear; empty means none are written.
	Namespace string `yaml:"namespace"`
	// Every is the time between two of one metric.
	Every time.Duration `yaml:"every" min:"1s" max:"10m"`
}

// Traces goes to an OpenTelemetry collector.
type Traces struct {
	// URL is the collector's address for traces, OTLP over HTTP; empty means none are made.
	URL string `yaml:"url" is:"http"`
}

// Bus is the bus between gateways and workers.
type Bus struct {
	// URL is the NATS cluster; empty means the embedded server.
	URL string `yaml:"url" is:"nats"`
	// Credentials is a NATS credentials file. User and Password are the other way; a bus
	// node asks for them.
	Credentials string `yaml:"credentials"`
	User        string `yaml:"user"`
	Password    Secret `yaml:"password"`
	TLS         BusTLS `yaml:"tls"`
	// Replicas is how many NATS servers hold each record and part.
	Replicas int `yaml:"replicas" min:"1" max:"5"`
	// Shards is the number of streams that the entries' parts are spread over.
	Shards    int       `yaml:"shards" min:"1" max:"64"`
	Retention Retention `yaml:"retention"`
	// Listen, MaxMemory, MaxStore and Cluster are a bus node's own.
	Listen    string     `yaml:"listen" is:"listen"`
	MaxMemory Size       `yaml:"maxMemory" min:"64MiB" max:"1024GiB"`
	MaxStore  Size       `yaml:"maxStore" min:"64MiB" max:"65536GiB"`
	Cluster   BusCluster `yaml:"cluster"`
}

// BusTLS encrypts the connections of the bus: PEM files.
type BusTLS struct {
	// CA signs the other side's certificate; empty means the system's roots.
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// BusCluster joins bus nodes.
type BusCluster struct {
	Name string `yaml:"name" is:"word"`
	// Node is this node's own name; empty means its address among Routes.
	Node   string `yaml:"node" is:"node"`
	Listen string `yaml:"listen" is:"listen"`
	// Routes are the cluster addresses of the nodes, this one's among them or not.
	Routes string `yaml:"routes" is:"nats"`
}

// Retention bounds what the media plane keeps of a feed.
type Retention struct {
	Age   time.Duration `yaml:"age" min:"10s" max:"10m"`
	Bytes Size          `yaml:"bytes" min:"8MiB" max:"16GiB"`
	// Total bounds the parts of all feeds together, on each server that holds them.
	Total Size `yaml:"total" min:"64MiB" max:"1024GiB"`
}

// RTMP is the RTMP gateway and its limits. They hold for RTMPS as well.
type RTMP struct {
	Listen string `yaml:"listen" is:"listen"`
	// PublicURL is where encoders reach the gateways, without the application; empty means the
	// listener's own address.
	PublicURL        string        `yaml:"publicUrl" is:"rtmp"`
	App              string        `yaml:"app" is:"word"`
	MaxConnections   int           `yaml:"maxConnections" min:"1" max:"100000"`
	MaxMessage       Size          `yaml:"maxMessage" min:"64KiB" max:"16MiB"`
	MaxChunkStreams  int           `yaml:"maxChunkStreams" min:"4" max:"65599"`
	MaxMemory        Size          `yaml:"maxMemory" min:"1MiB" max:"1GiB"`
	MaxAMFDepth      int           `yaml:"maxAMFDepth" min:"4" max:"64"`
	HandshakeTimeout time.Duration `yaml:"handshakeTimeout" min:"100ms" max:"5m"`
	PublishTimeout   time.Duration `yaml:"publishTimeout" min:"100ms" max:"5m"`
	IdleTimeout      time.Duration `yaml:"idleTimeout" min:"1s" max:"1h"`
	WriteTimeout     time.Duration `yaml:"writeTimeout" min:"100ms" max:"5m"`
}

// RTMPS is the encrypted listener of the RTMP gateway.
type RTMPS struct {
	Listen string `yaml:"listen" is:"listen"`
}

// SRT is the SRT gateway and its limits.
type SRT struct {
	// Listen are UDP listeners, separated by commas.
	Listen         string        `yaml:"listen" is:"listens"`
	Latency        time.Duration `yaml:"latency" min:"20ms" max:"10s"`
	Buffer         Size          `yaml:"buffer" min:"64KiB" max:"1GiB"`
	MaxConnections int           `yaml:"maxConnections" min:"1" max:"100000"`
	PublishTimeout time.Duration `yaml:"publishTimeout" min:"1s" max:"5m"`
	IdleTimeout    time.Duration `yaml:"idleTimeout" min:"1s" max:"1h"`
	PeerTimeout    time.Duration `yaml:"peerTimeout" min:"1s" max:"1m"`
}

// Addresses are the listeners, none when the gateway is off.
func (s SRT) Addresses() []string { return splitList(s.Listen) }

// WHIP is publishing over WebRTC: offers come on the public HTTP listeners, media to those of
// WebRTC.
type WHIP struct {
	Enabled bool `yaml:"enabled"`
	// PublicURL is where encoders reach it, without the path; empty means the listener's own
	// address.
	PublicURL      string        `yaml:"publicUrl" is:"http"`
	MaxSessions    int           `yaml:"maxSessions" min:"1" max:"100000"`
	MaxOffer       Size          `yaml:"maxOffer" min:"8KiB" max:"1MiB"`
	PublishTimeout time.Duration `yaml:"publishTimeout" min:"1s" max:"5m"`
	IdleTimeout    time.Duration `yaml:"idleTimeout" min:"1s" max:"1h"`
	// Keyframe is how long after a keyframe the next one is asked for.
	Keyframe time.Duration `yaml:"keyframe" min:"500ms" max:"10s"`
	// Latency is how long a lost packet is waited for.
	Latency time.Duration `yaml:"latency" min:"20ms" max:"1s"`
}

// WebRTC is what connections of WebRTC go over.
type WebRTC struct {
	// Listen is a UDP port, and the TCP port of the same number.
	Listen string `yaml:"listen" is:"listen"`
	Buffer Size   `yaml:"buffer" min:"64KiB" max:"1GiB"`
	// PublicAddress is where peers reach the port: addresses, or how to find out.
	PublicAddress string `yaml:"publicAddress" is:"public"`
	// Lite leaves finding the way to the peers.
	Lite bool `yaml:"lite"`
	// ICEServers are told to the peers, separated by commas; User and Password are for those of TURN.
	ICEServers  string `yaml:"iceServers" is:"ice"`
	ICEUser     string `yaml:"iceUser"`
	ICEPassword Secret `yaml:"icePassword"`
}

// Push is publishing over HTTP, on the public HTTP listeners.
type Push struct {
	Enabled        bool          `yaml:"enabled"`
	MaxRequests    int           `yaml:"maxRequests" min:"1" max:"100000"`
	PublishTimeout time.Duration `yaml:"publishTimeout" min:"1s" max:"5m"`
	IdleTimeout    time.Duration `yaml:"idleTimeout" min:"1s" max:"1h"`
}

// TLS says where the certificate of every encrypted listener comes from.
type TLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
	// SelfSigned has klive make a certificate of its own under data.
	SelfSigned bool `yaml:"selfSigned"`
}

// HTTP is the public HTTP listener: playback and health.
type HTTP struct {
	Listen string `yaml:"listen" is:"listen"`
	// PublicURL is where viewers reach it; empty means the listener's own address.
	PublicURL string `yaml:"publicUrl" is:"http"`
	// TrustedProxies are the address ranges of load balancers that say who a request comes from.
	TrustedProxies string `yaml:"trustedProxies" is:"ranges"`
}

// Proxies are the ranges of trustedProxies.
func (h HTTP) Proxies() (ranges []netip.Prefix) {
	for one := range strings.SplitSeq(h.TrustedProxies, ",") {
		if p, err := netip.ParsePrefix(strings.TrimSpace(one)); err == nil {
			ranges = append(ranges, p.Masked())
		}
	}
	return ranges
}

// HTTPS is the encrypted public HTTP listener.
type HTTPS struct {
	Listen string `yaml:"listen" is:"listen"`
}

// Admin is the operators' listener: console, control plane API, metrics.
type Admin struct {
	Listen string `yaml:"listen" is:"listen"`
	Token  Secret `yaml:"token"`
}

// Gateway is what all protocols share.
type Gateway struct {
	// Takeover is the silence after which a new connection may take over a feed.
	Takeover time.Duration `yaml:"takeover" min:"500ms" max:"1m"`
	// Drain is how long encoders may stay after klive was told to end.
	Drain time.Duration `yaml:"drain" min:"0s" max:"24h"`
	// KeyframeTimeout ends a stream that has pictures but sends no keyframe.
	KeyframeTimeout time.Duration `yaml:"keyframeTimeout" min:"15s" max:"1h"`
	// StandAfter is how long an encoder that comes back waits for Kaltura before it stands on
	// the grant that it had.
	StandAfter time.Duration `yaml:"standAfter" min:"500ms" max:"1m"`
	// AcceptFor and RefuseFor are how long Kaltura's answers to an address hold.
	AcceptFor time.Duration `yaml:"acceptFor" min:"0s" max:"5m"`
	RefuseFor time.Duration `yaml:"refuseFor" min:"0s" max:"10m"`
	// TaskProtection is how long ECS is asked to leave a task alone that holds feeds; 0 is never.
	TaskProtection time.Duration `yaml:"taskProtection" min:"0s" max:"48h"`
}

// Limits are the marks above which a gateway takes no new streams; 0 is no mark.
type Limits struct {
	// CPU, Memory and Descriptors are percent of what the process may use.
	CPU         int `yaml:"cpu" min:"0" max:"100"`
	Memory      int `yaml:"memory" min:"0" max:"100"`
	Descriptors int `yaml:"descriptors" min:"0" max:"100"`
	// Disk is what has to be free where data lies.
	Disk Size `yaml:"disk" min:"0" max:"1024GiB"`
	// Network bounds the sum of the streams' bitrates in Mbit/s, Streams their number.
	Network int `yaml:"network" min:"0" max:"1000000"`
	Streams int `yaml:"streams" min:"0" max:"1000000"`
	// PartnerStreams is how many streams a partner may have in the deployment; Partners names those
	// with another number: "102:50,103:5".
	PartnerStreams int    `yaml:"partnerStreams" min:"0" max:"1000000"`
	Partners       string `yaml:"partners" is:"partners"`
}

// PartnerStreamsOf is how many streams a partner may have on the air; 0 is any number.
func (l Limits) PartnerStreamsOf(partner int) int {
	own, err := parsePartners(l.Partners)
	if n, ok := own[partner]; ok && err == nil {
		return n
	}
	return l.PartnerStreams
}

// Segment is the grid.
type Segment struct {
	Duration time.Duration `yaml:"duration" min:"1s" max:"12s"`
}

// Part is the unit on the bus.
type Part struct {
	Duration time.Duration `yaml:"duration" min:"100ms" max:"2s"`
}

// HLS is what the live playlists list.
type HLS struct {
	// Window counts segments.
	Window int `yaml:"window" min:"3" max:"60"`
	// Container is what the origins' HLS comes in.
	Container string `yaml:"container" oneof:"cmaf,ts"`
}

// Broadcast is the life of a broadcast.
type Broadcast struct {
	// Resume is how long all feeds may be gone before the broadcast is over.
	Resume time.Duration `yaml:"resume" min:"1s" max:"24h"`
}

// Failover chooses between the primary and the backup encoder.
type Failover struct {
	After  time.Duration `yaml:"after" min:"500ms" max:"1m"`
	Health time.Duration `yaml:"health" min:"1s" max:"10m"`
	// Return says whether the primary comes back by itself.
	Return string `yaml:"return" oneof:"auto,manual"`
	// MinHealth is the health score below which a feed is left for a good one; 0 is never.
	MinHealth int `yaml:"minHealth" min:"0" max:"89"`
}

// DVR bounds what entries may ask for.
type DVR struct {
	MaxWindow time.Duration `yaml:"maxWindow" min:"1m" max:"24h"`
	// Keep is how long a broadcast that is over can still be played, when its window is shorter.
	Keep time.Duration `yaml:"keep" min:"1m" max:"8760h"`
	// Grace is how long media stay that have left every playlist, and the archive of the
	// broadcast before once a new one is on the air.
	Grace time.Duration `yaml:"grace" min:"10s" max:"24h"`
}

// Thumbnail is pictures of entries that are on the air.
type Thumbnail struct {
	// Every is how often the live picture changes; 0 means that there are none.
	Every time.Duration `yaml:"every" min:"0s" max:"1h"`
	// Width is the most that pictures have, in pixels.
	Width int `yaml:"width" min:"16" max:"3840"`
}

// Viewer says who may watch.
type Viewer struct {
	// Keys verify viewers' tokens: "id:secret,id:secret"; see [Viewer.TokenKeys].
	Keys Secret `yaml:"keys" reload:"yes"`
	// ShieldHeader is a header that the CDN sends with one of ShieldSecrets, joined by commas.
	ShieldHeader  string `yaml:"shieldHeader" is:"header" reload:"yes"`
	ShieldSecrets Secret `yaml:"shieldSecrets" reload:"yes"`
}

// Storage is where media, timelines and playlists rest.
type Storage struct {
	// URL is a file:// or s3:// address; empty means the folder "store" under data.
	URL string `yaml:"url" is:"storage"`
	// Fsync makes each write to a folder durable before it counts.
	Fsync bool `yaml:"fsync"`
	// Timeout is for one attempt of a call, Deadline for the call with its repeats.
	Timeout  time.Duration `yaml:"timeout" min:"100ms" max:"5m"`
	Deadline time.Duration `yaml:"deadline" min:"100ms" max:"10m"`
	// Encryption is what the bucket is asked for; KMSKey names the key of aws:kms.
	Encryption string `yaml:"encryption" oneof:"none,AES256,aws:kms"`
	KMSKey     string `yaml:"kmsKey"`
	// Recordings is the store of recorded files.
	Recordings RecordingStorage `yaml:"recordings"`
}

// RecordingStorage is where recorded files rest.
type RecordingStorage struct {
	// URL is a file:// or s3:// address; empty means storage.url's.
	URL string `yaml:"url" is:"storage"`
}

// Recording makes files of broadcasts and hands them to Kaltura.
type Recording struct {
	Enabled bool          `yaml:"enabled"`
	Segment time.Duration `yaml:"segment" min:"5s" max:"1h"`
	// Strategy is how Kaltura gets at a file. Path and Address are templates for serverFile and url.
	Strategy string `yaml:"strategy" oneof:"uploadToken,serverFile,url"`
	Path     string `yaml:"path"`
	Address  string `yaml:"address"`
	// Keep is how long a file stays that Kaltura has; 0 is for ever.
	Keep time.Duration `yaml:"keep" min:"0s" max:"87600h"`
	// Retry is the longest wait before something that failed is tried again, Unknown the time
	// after a lost answer in which the call may still be under way.
	Retry   time.Duration `yaml:"retry" min:"1s" max:"1h"`
	Unknown time.Duration `yaml:"unknown" min:"1s" max:"1h"`
	// Settle is how long after a broadcast's end its last media are waited for, Scan how often
	// unfinished recordings are looked for.
	Settle time.Duration `yaml:"settle" min:"1s" max:"24h"`
	Scan   time.Duration `yaml:"scan" min:"1s" max:"1h"`
	// Remake is how long a file waits for segments of its rung that are gaps to be made again.
	Remake time.Duration `yaml:"remake" min:"0s" max:"24h"`
	// Backup records the backup encoder's own feed too, under server index 1.
	Backup bool `yaml:"backup"`
	// Writing is how many files a worker writes at once.
	Writing int `yaml:"writing" min:"1" max:"64"`
}

// Internal is the listener on which the nodes of one deployment reach each other.
type Internal struct {
	Listen string `yaml:"listen" is:"listen"`
	// Address is where the others reach it, host:port; empty means the listener's own.
	Address string `yaml:"address" is:"listen"`
}

// Cluster is what the nodes of one deployment share.
type Cluster struct {
	Secret Secret `yaml:"secret"`
}

// Worker is how live entries are spread over workers.
type Worker struct {
	// Beat is how often a worker says that it lives; StealAfter the silence after which another
	// takes its entries.
	Beat       time.Duration `yaml:"beat" min:"100ms" max:"2s"`
	StealAfter time.Duration `yaml:"stealAfter" min:"500ms" max:"1m"`
	// MoveEvery is the least time between two entries that a worker gives away to spread load.
	MoveEvery time.Duration `yaml:"moveEvery" min:"1s" max:"1h"`
	// Drain is how long a worker that was told to end may take to hand its entries over.
	Drain time.Duration `yaml:"drain" min:"1s" max:"10m"`
}

// Transcode makes the renditions of ladders.
type Transcode struct {
	// Encoder is ffmpeg's; auto takes the first of the hardware's that works. None transcodes
	// nothing in this process.
	Encoder string `yaml:"encoder" oneof:"libx264,h264_nvenc,h264_vaapi,h264_qsv,auto,none"`
	// Preset is the encoder's; empty means its default.
	Preset string `yaml:"preset"`
	FFmpeg string `yaml:"ffmpeg"`
	// Jobs run at a time, Threads each; 0 means what the cores give.
	Jobs    int `yaml:"jobs" min:"0" max:"256"`
	Threads int `yaml:"threads" min:"0" max:"64"`
	// Memory bounds one ffmpeg's address space, Stall the time for which it may not advance,
	// Tries how often a segment is begun.
	Memory Size          `yaml:"memory" min:"256MiB" max:"64GiB"`
	Stall  time.Duration `yaml:"stall" min:"1s" max:"1m"`
	Tries  int           `yaml:"tries" min:"1" max:"10"`
	// Upscale lets rungs be larger than their source.
	Upscale bool `yaml:"upscale"`
}

// Spool keeps media on this host while the store is away.
type Spool struct {
	// Dir is the folder; empty means the folder "spool" under data.
	Dir string `yaml:"dir"`
	// Bytes and Age are the budget. What is over it becomes gaps, oldest first.
	Bytes Size          `yaml:"bytes" min:"16MiB" max:"16384GiB"`
	Age   time.Duration `yaml:"age" min:"10s" max:"6h"`
	// After is how long a write to the store may take before the spool takes it over.
	After time.Duration `yaml:"after" min:"250ms" max:"1m"`
}

// Sweeper removes media that no timeline names.
type Sweeper struct {
	// Every is how often it looks, After how old such an object must be.
	Every time.Duration `yaml:"every" min:"10s" max:"24h"`
	After time.Duration `yaml:"after" min:"10m" max:"720h"`
}

// Kaltura is the API that says who may publish.
type Kaltura struct {
	// URL is the API's base address; empty means the embedded control plane.
	URL       string `yaml:"url" is:"http"`
	PartnerID int    `yaml:"partnerId" min:"-2147483648" max:"2147483647"`
	Secret    Secret `yaml:"secret"`
	// Hostname is what this media server calls itself; empty means the host's name.
	Hostname string `yaml:"hostname" is:"host"`
	// Status is the call that tells the API that this deployment lives, StatusEvery how often.
	Status      string        `yaml:"status" oneof:"mediaServer,serverNode,off"`
	StatusEvery time.Duration `yaml:"statusEvery" min:"10s" max:"1h"`
	// FlavorParams is how the settings of outputs are read, Ladder what the outputs come from.
	FlavorParams string  `yaml:"flavorParams" oneof:"get,profile"`
	Ladder       string  `yaml:"ladder" oneof:"template,profile"`
	Breaker      Breaker `yaml:"breaker"`
	// Timeout is for one call with its repetitions.
	Timeout time.Duration `yaml:"timeout" min:"1s" max:"10m"`
	// MaxConnections are those to the API at a time; calls wait for one within their Timeout.
	MaxConnections   int           `yaml:"maxConnections" min:"4" max:"10000"`
	StartDelay       time.Duration `yaml:"startDelay" min:"100ms" max:"10m"`
	KeepAlive        time.Duration `yaml:"keepAlive" min:"5s" max:"10m"`
	KeepAliveJitter  time.Duration `yaml:"keepAliveJitter" min:"0s" max:"5m"`
	UnregisterGrace  time.Duration `yaml:"unregisterGrace" min:"100ms" max:"10m"`
	UnregisterGiveUp time.Duration `yaml:"unregisterGiveUp" min:"10s" max:"24h"`
	PlayableSegments int           `yaml:"playableSegments" min:"1" max:"20"`
	LiveEntryStatus  bool          `yaml:"liveEntryStatus"`
	Application      string        `yaml:"application" is:"word"`
	// EntryDigits are those that an entry id may begin with.
	EntryDigits string `yaml:"entryDigits" is:"digits"`
}

// Breaker is when calls of the API are refused at once because it does not answer.
type Breaker struct {
	// Failures in a row; 0 is never.
	Failures int           `yaml:"failures" min:"0" max:"1000"`
	Pause    time.Duration `yaml:"pause" min:"100ms" max:"10m"`
}

// Control is the embedded control plane.
type Control struct {
	Enabled           bool   `yaml:"enabled"`
	Secret            Secret `yaml:"secret"`
	Generation        string `yaml:"generation" oneof:"now,2015"`
	RequireServerNode bool   `yaml:"requireServerNode"`
	// Expiry is how long a registration lasts without a call, Sweep how often it looks.
	Expiry time.Duration `yaml:"expiry" min:"10s" max:"24h"`
	Sweep  time.Duration `yaml:"sweep" min:"1s" max:"1h"`
	// MaxInputs and MaxTranscoded limit partner 102's entries on the air; -1 is no limit.
	MaxInputs     int `yaml:"maxInputs" min:"-1" max:"1000000"`
	MaxTranscoded int `yaml:"maxTranscoded" min:"-1" max:"1000000"`
	// What one request may hold, its uploaded files aside.
	MaxRequest    Size `yaml:"maxRequest" min:"64KiB" max:"64MiB"`
	MaxParameters int  `yaml:"maxParameters" min:"100" max:"100000"`
	MaxDepth      int  `yaml:"maxDepth" min:"4" max:"64"`
	MaxCalls      int  `yaml:"maxCalls" min:"1" max:"1000"`
	// MaxAnswer is what the answers of one multirequest may take together.
	MaxAnswer Size `yaml:"maxAnswer" min:"1MiB" max:"1GiB"`
	// What may be uploaded: bytes in one request, files at once, how long a connection may
	// bring nothing, how long a file waits to be used.
	MaxUpload  Size          `yaml:"maxUpload" min:"1MiB" max:"1024GiB"`
	Uploads    int           `yaml:"uploads" min:"1" max:"1000"`
	UploadIdle time.Duration `yaml:"uploadIdle" min:"1s" max:"10m"`
	UploadKeep time.Duration `yaml:"uploadKeep" min:"10m" max:"720h"`
	// AcceptURLResource lets appendRecording fetch files from addresses.
	AcceptURLResource bool `yaml:"acceptUrlResource"`
}

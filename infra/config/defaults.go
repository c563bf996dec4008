package config

import (
	"path/filepath"
	"time"
)

// Default returns the configuration of a klive that was told nothing.
func Default() *Config {
	return &Config{
		Log:       Log{Level: "info", Format: "text"},
		Data:      "./data",
		Telemetry: Telemetry{CloudWatch: CloudWatch{Every: 15 * time.Second}},
		Bus: Bus{
			Replicas: 1, Shards: 4, Retention: Retention{Age: 90 * time.Second, Bytes: 256 * MiB, Total: GiB},
			Listen: ":4222", MaxMemory: 2 * GiB, MaxStore: 8 * GiB,
			Cluster: BusCluster{Name: "klive"},
		},
		RTMP: RTMP{
			Listen: ":1935", App: "kLive",
			MaxConnections: 1000, MaxMessage: 8 * MiB, MaxChunkStreams: 64, MaxMemory: 16 * MiB, MaxAMFDepth: 16,
			HandshakeTimeout: 10 * time.Second, PublishTimeout: 10 * time.Second,
			IdleTimeout: 30 * time.Second, WriteTimeout: 10 * time.Second,
		},
		SRT: SRT{
			Listen: ":8890", Latency: 120 * time.Millisecond, Buffer: 4 * MiB, MaxConnections: 500,
			PublishTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, PeerTimeout: 5 * time.Second,
		},
		WHIP: WHIP{
			Enabled: true, MaxSessions: 500, MaxOffer: 64 * KiB, PublishTimeout: 15 * time.Second, IdleTimeout: 30 * time.Second,
			Keyframe: 2 * time.Second, Latency: 500 * time.Millisecond,
		},
		WebRTC:    WebRTC{Listen: ":8189", Buffer: 4 * MiB},
		Push:      Push{Enabled: true, MaxRequests: 1000, PublishTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second},
		HTTP:      HTTP{Listen: ":8080"},
		Admin:     Admin{Listen: "127.0.0.1:8081"},
		Gateway:   Gateway{Takeover: 2 * time.Second, Drain: time.Second, KeyframeTimeout: 60 * time.Second, StandAfter: 5 * time.Second, TaskProtection: 30 * time.Minute},
		Segment:   Segment{Duration: 4 * time.Second},
		Part:      Part{Duration: 333 * time.Millisecond},
		HLS:       HLS{Window: 5, Container: "cmaf"},
		Broadcast: Broadcast{Resume: 180 * time.Second},
		Limits:    Limits{CPU: 95, Memory: 90, Descriptors: 90, Disk: 256 * MiB},
		Failover:  Failover{After: 1500 * time.Millisecond, Health: 10 * time.Second, Return: "auto", MinHealth: 50},
		DVR:       DVR{MaxWindow: 7200 * time.Second, Keep: time.Hour, Grace: time.Minute},
		Thumbnail: Thumbnail{Every: 10 * time.Second, Width: 640},
		Kaltura: Kaltura{
			Status: "mediaServer", StatusEvery: 300 * time.Second, FlavorParams: "get", Ladder: "template",
			Breaker:   Breaker{Failures: 5, Pause: 10 * time.Second},
			PartnerID: -5, Timeout: 30 * time.Second, MaxConnections: 64, StartDelay: 5 * time.Second,
			KeepAlive: 60 * time.Second, KeepAliveJitter: 3 * time.Second,
			UnregisterGrace: 5 * time.Second, UnregisterGiveUp: time.Hour,
			PlayableSegments: 4, LiveEntryStatus: true, Application: "kLive", EntryDigits: "01",
		},
		Control: Control{
			Enabled: true, Generation: "now", Expiry: 120 * time.Second, Sweep: 30 * time.Second, MaxInputs: -1, MaxTranscoded: -1,
			MaxRequest: MiB, MaxParameters: 2000, MaxDepth: 16, MaxCalls: 50, MaxAnswer: 64 * MiB,
			MaxUpload: 16 * GiB, Uploads: 8, UploadIdle: 30 * time.Second, UploadKeep: 24 * time.Hour,
		},
		Storage:  Storage{Timeout: 5 * time.Second, Deadline: 15 * time.Second, Encryption: "none"},
		Internal: Internal{Listen: "127.0.0.1:8082"},
		Worker: Worker{
			Beat: 500 * time.Millisecond, StealAfter: 2 * time.Second, MoveEvery: 10 * time.Second, Drain: 30 * time.Second,
		},
		Transcode: Transcode{
			Encoder: "libx264", FFmpeg: "ffmpeg", Memory: 4 * GiB, Stall: 10 * time.Second, Tries: 3,
		},
		Spool:   Spool{Bytes: 8 * GiB, Age: 30 * time.Minute, After: time.Second},
		Sweeper: Sweeper{Every: 10 * time.Minute, After: time.Hour},
		Recording: Recording{
			Enabled: true, Segment: 15 * time.Minute, Strategy: "uploadToken", Keep: 168 * time.Hour,
			Retry: time.Minute, Unknown: time.Minute, Settle: 10 * time.Minute, Scan: time.Minute, Remake: time.Hour, Writing: 2,
		},
	}
}

// StorageURL returns storage.url, or the address of the folder "store" under data when
// the key is empty.
func (c *Config) StorageURL() (string, error) {
	if c.Storage.URL != "" {
		return c.Storage.URL, nil
	}
	dir, err := filepath.Abs(filepath.Join(c.Data, "store"))
	if err != nil {
		return "", err
	}
	return "file://" + filepath.ToSlash(dir), nil
}

package config

import (
	"slices"
	"strings"
)

// OldKey is a setting of the media server that klive takes the place of (contract §6.14).
type OldKey struct {
	Name string
	// Key is klive's own for it; empty when it has none, and then Why says why.
	Key, Why string
}

// hint says what to do instead.
func (k OldKey) hint() string {
	if k.Key == "" {
		return "is of the media server that klive replaces, and klive has no such key: " + k.Why
	}
	text := "is of the media server that klive replaces; klive's key is " + k.Key
	if k.Why != "" {
		text += " (" + k.Why + ")"
	}
	return text
}

const (
	noChannels = "live channels from playlists are not offered"
	noPush     = "push publish and multicast are not offered"
	noSOAP     = "there is no SOAP service; the commands and the API on admin.listen do its work"
	asDuration = `written with its unit, such as "60s"`
)

// OldKeys are the settings that people bring with them, in the contract's order.
func OldKeys() []OldKey {
	return []OldKey{
		{"KalturaServerURL", "kaltura.url", ""},
		{"KalturaServerAdminSecret", "kaltura.secret", ""},
		{"KalturaPartnerId", "kaltura.partnerId", ""},
		{"KalturaServerTimeout", "kaltura.timeout", asDuration},
		{"KalturaServerManagers", "", "every part always runs, or is chosen by the command's role"},
		{"KalturaServerWebServices", "", noSOAP},
		{"KalturaServerWebServicesPort", "", noSOAP},
		{"KalturaServerWebServicesHost", "", noSOAP},
		{"KalturaServerStatusInterval", "kaltura.statusEvery", asDuration},
		{"KalturaLiveStreamKeepAliveInterval", "kaltura.keepAlive", asDuration},
		{"KalturaLiveStreamMaxDvrWindow", "dvr.maxWindow", asDuration},
		{"KalturaIsLiveRegistrationMinBufferTime", "kaltura.startDelay", asDuration},
		{"KalturaRecordedChunckMaxDuration", "recording.segment", asDuration},
		{"DefaultRecordedSegmentDuration", "recording.segment", asDuration},
		{"CopySegmentToLocation", "storage.recordings.url", "files are written there at once"},
		{"KalturaRecordedFileGroup", "", "recorded files have the permissions of the store they are written to"},
		{"KalturaWorkMode", "recording.strategy", "kaltura is serverFile, remote is uploadToken"},
		{"uploadXMLSavePath", "", "recordings that Kaltura does not have yet wait in klive's own ledger, and are handed over when it answers"},
		{"KalturaSyncEntryids", "", "segments of every entry are numbered and cut alike for both encoders"},
		{"KalturaReloadScheduledChannelsInterval", "", noChannels},
		{"KalturaChannelsVHostName", "", noChannels},
		{"KalturaChannelsApplicationName", "", noChannels},
		{"MulticastIP", "", noPush},
		{"MulticastPortRange", "", noPush},
		{"MulticastTag", "", noPush},
		{"multicastStreamTimeout", "", noPush},
		{"ApplicationManagers", "", "every part always runs, or is chosen by the command's role"},
		{"readyForPlaybackMinimumChunkCount", "kaltura.playableSegments", ""},
		{"KalturaSyncPointsInterval", "", "sync points are not made"},
		{"KalturaMemoryDebugInterval", "", "/metrics and /debug/pprof on admin.listen show memory at any time"},
		{"KalturaServerNodeName", "kaltura.hostname", ""},
		{"limitOriginHeaderName", "viewer.shieldHeader", ""},
		{"limitOriginHeaderValue", "viewer.shieldSecrets", ""},
		{"KalturaMaxAllowedPTSDriftiMillisec", "", "a source time that jumps by more than 10 s always begins anew"},
	}
}

// oldKey finds the old setting of a name, however it is cased or separated.
func oldKey(name string) (OldKey, bool) {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "").Replace(s))
	}
	want, all := plain(name), OldKeys()
	i := slices.IndexFunc(all, func(k OldKey) bool { return plain(k.Name) == want })
	if i < 0 {
		return OldKey{}, false
	}
	return all[i], true
}

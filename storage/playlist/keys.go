// Package playlist makes the text of HLS playlists from timelines (RFC 8216bis). Its
// functions are pure: the same State gives the same text. It also says where everything
// lies: keys in the store and paths at the origin are the same.
package playlist

import (
	"slices"
	"strconv"
	"strings"

	"klive/infra/live"
	"klive/storage/timeline"
)

// Root is the first segment of every public key and of every address at the origin.
const Root = "kLive"

// The names of playlists within their folder.
const (
	MultivariantName    = "playlist.m3u8"
	MultivariantDVRName = "playlist-dvr.m3u8"
	LiveName            = "v.m3u8"
	DVRName             = "dvr.m3u8"
	ManifestName        = "manifest.mpd"
	// Those of MPEG-TS, which origins alone have.
	TSName    = "ts.m3u8"
	TSDVRName = "ts-dvr.m3u8"
)

// TimeName is the clock of DASH players, beside the folders of the streams.
const TimeName = "time"

// MediaKey is where a segment of a rendition lies; name is "<start>-<feed epoch>".
func MediaKey(rendition, broadcast, name string) string {
	return Root + "/" + rendition + "/" + broadcast + "/" + name + ".m4s"
}

// InitKey is where the n-th initialization section of a rendition lies; n counts from 1.
func InitKey(rendition, broadcast string, n int) string {
	return Root + "/" + rendition + "/" + broadcast + "/" + initName(n)
}

func initName(n int) string { return "init-" + strconv.Itoa(n) + ".mp4" }

// LiveKey is the media playlist of a rendition's live window, DVRKey that of its DVR window.
func LiveKey(rendition string) string { return Root + "/" + rendition + "/" + LiveName }

// DVRKey is the media playlist of a rendition's DVR window.
func DVRKey(rendition string) string { return Root + "/" + rendition + "/" + DVRName }

// GroupKey is the multivariant playlist of a group ("all" or a tag), or of several params
// ids joined by "_".
func GroupKey(entry, group string, dvr bool) string {
	return Root + "/smil:" + entry + "_" + group + ".smil/" + multivariantName(dvr)
}

// SingleKey is the multivariant playlist of one rendition with its audio.
func SingleKey(rendition string, dvr bool) string {
	return Root + "/" + rendition + "/" + multivariantName(dvr)
}

func multivariantName(dvr bool) string {
	if dvr {
		return MultivariantDVRName
	}
	return MultivariantName
}

// Selection is which renditions of an entry a multivariant playlist lists.
type Selection struct {
	Entry string
	// Group is "all" or a tag; empty when Params or Rendition says it.
	Group string
	// Params are flavor params ids, in ascending order.
	Params []int
	// Rendition names one rendition.
	Rendition string
}

// maxParams bounds the ids in one address.
const maxParams = 32

// ParseFolder reads the folder of an address under Root (contract §3.16, §6.11):
// "smil:<entry>_<group>.smil", "smil:<entry>_<id>_<id>.smil", "<entry>_<params>",
// "<entry>_a<n>", or "ngrp:<entry>_<suffix>_<group>", which is the group under another name
// (contract row 116).
func ParseFolder(folder string) (Selection, bool) {
	if inner, ok := strings.CutPrefix(folder, "ngrp:"); ok {
		entry, rest, ok := splitEntry(inner)
		suffix, group, ok2 := strings.Cut(rest, "_")
		if !ok || !ok2 || !validNumber(suffix) || !validTag(group) {
			return Selection{}, false
		}
		return Selection{Entry: entry, Group: group}, true
	}
	if inner, ok := strings.CutPrefix(folder, "smil:"); ok {
		inner, ok = strings.CutSuffix(inner, ".smil")
		entry, rest, ok2 := splitEntry(inner)
		if !ok || !ok2 || !validTag(rest) {
			return Selection{}, false
		}
		if ids, ok := ParseParams(rest, "_"); ok {
			return Selection{Entry: entry, Params: ids}, true
		}
		return Selection{Entry: entry, Group: rest}, true
	}
	entry, rest, ok := splitEntry(folder)
	if !ok || !validNumber(strings.TrimPrefix(rest, "a")) {
		return Selection{}, false
	}
	return Selection{Entry: entry, Rendition: folder}, true
}

// ParseSMIL reads the address of a SMIL document, "smil:<entry>_<group>.smil" or the same
// without "smil:" (contract §6.11).
func ParseSMIL(name string) (Selection, bool) {
	if !strings.HasSuffix(name, ".smil") {
		return Selection{}, false
	}
	return ParseFolder("smil:" + strings.TrimPrefix(name, "smil:"))
}

// splitEntry cuts "<entry>_<rest>".
func splitEntry(s string) (entry, rest string, ok bool) {
	const entryLen = len("0_rkij47dr")
	if len(s) < entryLen+2 || s[entryLen] != '_' || !live.ValidEntryID(s[:entryLen]) {
		return "", "", false
	}
	return s[:entryLen], s[entryLen+1:], true
}

// ParseParams reads flavor params ids, at most 32, joined by sep, and returns them in
// ascending order without repeats.
func ParseParams(s, sep string) ([]int, bool) {
	parts := strings.SplitN(s, sep, maxParams+1)
	if len(parts) > maxParams {
		return nil, false
	}
	ids := make([]int, 0, len(parts))
	for _, p := range parts {
		if !validNumber(p) {
			return nil, false
		}
		id, _ := strconv.Atoi(p)
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids), true
}

// validNumber accepts what strconv.Itoa writes for numbers that fit in an int32.
func validNumber(s string) bool {
	if s == "" || len(s) > 9 || (s[0] == '0' && len(s) > 1) {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

// validTag accepts tag names: letters, digits, "_", "-" and ".", at most 100.
func validTag(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// DroppedKeys lists the media objects of what has left a timeline: also of those that were
// never said to be stored, because they may be.
func DroppedKeys(d *timeline.Dropped) []string {
	var keys []string
	for i := range d.Items {
		for _, m := range d.Items[i].Media {
			if !m.Gap {
				keys = append(keys, MediaKey(m.Rendition, d.Broadcast, m.Name))
			}
		}
	}
	if d.Whole {
		for _, r := range d.Renditions {
			for n := 1; n <= r.Inits; n++ {
				keys = append(keys, InitKey(r.Name, d.Broadcast, n))
			}
		}
	}
	return keys
}

package sweeper

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"klive/infra/live"
	"klive/infra/media"
	"klive/storage/playlist"
	"klive/storage/timeline"
)

// mediaKey is the key of a media object or of an initialization section, taken apart.
type mediaKey struct {
	entry, rendition, broadcast string
	// start is where media begin; init is the section's number, 0 for media.
	start media.Time
	init  int
}

// folder is what holds the objects of one rendition of a broadcast.
func (k *mediaKey) folder() string { return k.rendition + "/" + k.broadcast }

var broadcastID = regexp.MustCompile(`^[0-9A-Za-z_-]{8,64}$`)

// parseMediaKey reads kLive/<rendition>/<broadcast>/<name>. ok is false for everything else.
func parseMediaKey(key string) (k mediaKey, ok bool) {
	p := strings.Split(key, "/")
	if len(p) != 4 || p[0] != playlist.Root || !broadcastID.MatchString(p[2]) {
		return k, false
	}
	sel, ok := playlist.ParseFolder(p[1])
	if !ok || sel.Rendition == "" {
		return k, false
	}
	k = mediaKey{entry: sel.Entry, rendition: sel.Rendition, broadcast: p[2]}
	if name, ok := strings.CutSuffix(p[3], ".m4s"); ok {
		start, _, _ := strings.Cut(name, "-")
		micros, err := strconv.ParseInt(start, 10, 64)
		k.start = media.Time(micros) * media.Time(time.Microsecond)
		return k, err == nil && timeline.ValidName(name)
	}
	n, ok := strings.CutSuffix(p[3], ".mp4")
	n, ok2 := strings.CutPrefix(n, "init-")
	number, err := strconv.Atoi(n)
	k.init = number
	return k, ok && ok2 && err == nil && number > 0 && strconv.Itoa(number) == n
}

// isPlaylist reports whether a key is that of a stored playlist.
func isPlaylist(key string) bool {
	p := strings.Split(key, "/")
	if len(p) != 3 || p[0] != playlist.Root {
		return false
	}
	if _, ok := playlist.ParseFolder(p[1]); !ok {
		return false
	}
	switch p[2] {
	case playlist.MultivariantName, playlist.MultivariantDVRName, playlist.LiveName, playlist.DVRName, playlist.ManifestName:
		return true
	}
	return false
}

// stateKey is a key below state/ that a timeline owns: a head (broadcast is empty), or the
// chapter of the items first to last.
type stateKey struct {
	entry, broadcast string
	first, last      uint64
}

// parseStateKey reads state/<entry>/head.json and state/<entry>/<broadcast>/chapter-<first>-<last>.json.
func parseStateKey(key string) (k stateKey, ok bool) {
	p := strings.Split(key, "/")
	if len(p) < 3 || !live.ValidEntryID(p[1]) {
		return k, false
	}
	k.entry = p[1]
	if key == timeline.HeadKey(k.entry) {
		return k, true
	}
	if len(p) != 4 || !broadcastID.MatchString(p[2]) {
		return k, false
	}
	k.broadcast = p[2]
	name, ok := strings.CutSuffix(p[3], ".json")
	numbers, ok2 := strings.CutPrefix(name, "chapter-")
	first, last, ok3 := strings.Cut(numbers, "-")
	var err, err2 error
	k.first, err = strconv.ParseUint(first, 10, 64)
	k.last, err2 = strconv.ParseUint(last, 10, 64)
	ok = ok && ok2 && ok3 && err == nil && err2 == nil
	return k, ok && key == timeline.ChapterKey(k.entry, k.broadcast, k.first, k.last)
}

package srt

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"klive/gateway"
	"klive/infra/live"
)

// maxStreamID bounds a stream id in bytes (SRTO_STREAMID, access control §"general syntax"), maxShown what a refusal
// repeats of a value in it.
const (
	maxStreamID = 512
	maxShown    = 40
)

// target is where a caller says that it wants to go.
type target struct {
	// name is the stream name, "<entry>_<suffix>".
	name   string
	params gateway.Params
	// anyPartner says that the stream id names no partner: the entry tells.
	anyPartner bool
}

// The beginnings of the two forms with keys: SRT access control's, and Kaltura's own.
const (
	standardForm = "#!::"
	kalturaForm  = "#:::"
)

const example = "#!::r=<entry>_1,m=publish,u=<partner>,i=0,s=<token>"

// parseStreamID reads a stream id in one of its forms:
//
//	#!::r=0_rkij47dr_1,m=publish,u=102,i=0,s=token        SRT access control
//	#:::e=0_rkij47dr,st=0,p=token                         Kaltura's (contract §4)
//	0_rkij47dr_1?p=102&e=0_rkij47dr&i=0&t=token           an RTMP address's
//
// Callers that build an URL may leave it percent-encoded. The error is a *gateway.Refusal.
func parseStreamID(id string) (target, error) {
	if len(id) > maxStreamID {
		return target{}, refuseID("the stream id is longer than %d bytes", maxStreamID)
	}
	id = decoded(id)
	switch {
	case id == "":
		return target{}, refuseID("the caller sent no stream id; set it to %s", example)
	case strings.HasPrefix(id, standardForm):
		return parseStandard(id[len(standardForm):])
	case strings.HasPrefix(id, kalturaForm):
		return parseKaltura(id[len(kalturaForm):])
	case strings.HasPrefix(id, "#"):
		return target{}, refuseID("the stream id begins with an unknown form; set it to %s", example)
	}
	return parsePlain(id)
}

// decoded undoes the percent-encoding of a stream id that still has it: one that begins as
// no form does, or whose separators are encoded.
func decoded(id string) string {
	if strings.HasPrefix(id, standardForm) || strings.HasPrefix(id, kalturaForm) {
		return id
	}
	if !strings.HasPrefix(id, "%23") && strings.Contains(id, "?") {
		return id
	}
	if plain, err := url.PathUnescape(id); err == nil {
		return plain
	}
	return id
}

// parseStandard reads the keys of SRT access control. Values may be percent-encoded, as they
// have to be where they hold a comma.
func parseStandard(text string) (target, error) {
	keys, err := readKeys(text)
	if err != nil {
		return target{}, err
	}
	if mode, ok := keys["m"]; ok && mode != "publish" {
		return target{}, &refusedMode{mode: gateway.Printable(mode, maxShown)}
	}
	if t, ok := keys["t"]; ok && t != "stream" {
		return target{}, refuseID("the stream id asks for type %q; want t=stream, or leave it out", gateway.Printable(t, maxShown))
	}
	out := target{name: keys["r"]}
	entry, suffix, err := live.ParseStreamName(keys["r"])
	if err != nil {
		return target{}, refuseID("the stream id's r= is no stream name: %v", live.ErrStreamName)
	}
	out.name = live.FeedID{Entry: entry, Suffix: suffix}.StreamName()
	out.params.Entry = entry
	if e, ok := keys["e"]; ok && e != entry {
		return target{}, refuseID("the stream id's e= and r= name different entries")
	}
	if out.params.Index, err = readIndex(keys, "i"); err != nil {
		return target{}, err
	}
	if token, ok := keys["s"]; ok {
		out.params.Token = &token
	}
	return out.withPartner(keys["u"])
}

// parseKaltura reads the form that Kaltura's application shows (contract §4).
func parseKaltura(text string) (target, error) {
	keys, err := readKeys(text)
	if err != nil {
		return target{}, err
	}
	entry, suffix, err := live.ParseStreamName(keys["e"])
	if err != nil {
		return target{}, refuseID("the stream id's e= is no entry id: %v", live.ErrEntryID)
	}
	out := target{name: live.FeedID{Entry: entry, Suffix: suffix}.StreamName()}
	out.params.Entry = entry
	if out.params.Index, err = readIndex(keys, "st"); err != nil {
		return target{}, err
	}
	for _, k := range []string{"p", "ep"} { // the token, or the encrypted one
		if token, ok := keys[k]; ok {
			out.params.Token = &token
		}
	}
	return out.withPartner("")
}

// parsePlain reads a stream name with the broadcast parameters of an RTMP address.
func parsePlain(id string) (target, error) {
	name, query, found := strings.Cut(id, "?")
	entry, suffix, err := live.ParseStreamName(strings.Trim(name, "/"))
	if err != nil {
		return target{}, refuseID("the stream id names no stream: %v; set it to %s", live.ErrStreamName, example)
	}
	if !found {
		return target{}, refuseID("the stream id has no broadcast parameters; set it to %s", example)
	}
	if !strings.Contains("&"+query, "&e=") {
		query += "&e=" + entry
	}
	params, _, err := gateway.ParseQuery(query)
	if err != nil {
		if !strings.Contains("&"+query, "&i=") {
			return target{}, refuseID("the stream id lacks i=; in an srt:// URL it ends at its first & unless it is percent-encoded whole: "+
				"streamid=%s_1%%3Fp%%3D<partner>%%26e%%3D%s%%26i%%3D0%%26t%%3D<token>", entry, entry)
		}
		return target{}, err
	}
	if params.Entry != entry {
		return target{}, refuseID("the stream id's e= and its name are different entries")
	}
	return target{name: live.FeedID{Entry: entry, Suffix: suffix}.StreamName(), params: params}, nil
}

func (t target) withPartner(text string) (target, error) {
	if text == "" {
		t.anyPartner = true
		return t, nil
	}
	var err error
	if t.params.Partner, err = strconv.Atoi(text); err != nil {
		return target{}, refuseID("the stream id's u= must be the partner's number")
	}
	return t, nil
}

// maxKeys bounds the keys of a stream id.
const maxKeys = 32

// readKeys splits "key=value,key=value"; later duplicates win.
func readKeys(text string) (map[string]string, error) {
	keys := map[string]string{}
	for i, part := range strings.SplitN(text, ",", maxKeys+1) {
		if i == maxKeys {
			return nil, refuseID("the stream id has more than %d keys", maxKeys)
		}
		k, v, ok := strings.Cut(part, "=")
		if !ok {
			continue
		}
		if plain, err := url.PathUnescape(v); err == nil {
			v = plain
		}
		keys[strings.TrimSpace(k)] = v
	}
	return keys, nil
}

// readIndex reads the server index, which is 0 when it is left out.
func readIndex(keys map[string]string, key string) (live.Index, error) {
	switch keys[key] {
	case "", "0":
		return live.Primary, nil
	case "1":
		return live.Backup, nil
	}
	return 0, refuseID("the stream id's %s= must be 0 (primary) or 1 (backup)", key)
}

// refusedMode is the refusal of a caller that wants to play.
type refusedMode struct{ mode string }

func (e *refusedMode) Error() string {
	return fmt.Sprintf("the stream id asks for mode %q; this port takes publishers only (m=publish); play the entry's HLS address", e.mode)
}

func refuseID(format string, args ...any) *gateway.Refusal {
	return &gateway.Refusal{Reason: gateway.ReasonParams, Text: fmt.Sprintf(format, args...)}
}

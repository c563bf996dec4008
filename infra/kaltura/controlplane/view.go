package controlplane

import (
	"context"
	"net"
	"strconv"
	"strings"

	"klive/infra/kaltura"
)

// view is an entry as a caller sees it: with what follows from the registrations and
// the server's addresses. The publishing token is for administrators only.
func (s *Server) view(ctx context.Context, c *call, doc entryDoc, class string) (kaltura.LiveStreamEntry, error) {
	e := doc.Entry
	e.ObjectType = class
	e.LiveStatus = bestStatus(doc)
	p, ok, err := s.profileFor(ctx, e.ConversionProfileID, func(int) bool { return true })
	if err != nil {
		return e, err
	}
	if ok {
		describeProfile(&e, p)
	}
	s.playback(&e, s.isLive(doc) && (c.admin() || !s.hidden(doc)))
	if c.admin() {
		s.broadcasting(&e)
	} else {
		e.StreamPassword, e.SRTPass = "", ""
	}
	return e, nil
}

// describeProfile fills in flavorParamsIds, and the ingest bitrates where the entry
// names none itself.
func describeProfile(e *kaltura.LiveStreamEntry, p profile) {
	var ids []string
	var ingest []kaltura.Bitrate
	for _, lp := range p.params() {
		ids = append(ids, strconv.Itoa(lp.ID))
		if lp.HasTag("ingest") {
			ingest = append(ingest, kaltura.Bitrate{Bitrate: lp.VideoBitrate, Width: lp.Width, Height: lp.Height, Tags: lp.Tags})
		}
	}
	e.FlavorParamsIDs = strings.Join(ids, ",")
	if len(e.Bitrates) == 0 {
		e.Bitrates = ingest
	}
}

// playback fills in where the entry is watched: off air there is no address (contract §3.16).
func (s *Server) playback(e *kaltura.LiveStreamEntry, onAir bool) {
	base := s.playbackFolder(e.ID)
	query := ""
	if e.DVRStatus == 1 {
		query = "?DVR"
	}
	e.LiveStreamConfigurations = nil
	for _, f := range s.protocols() {
		lc := kaltura.LiveStreamConfiguration{Protocol: f.protocol}
		if onAir && f.leaf != "" {
			lc.URL = base + f.leaf + query
		}
		e.LiveStreamConfigurations = append(e.LiveStreamConfigurations, lc)
	}
	if onAir {
		e.HLSStreamURL = base + "playlist.m3u8" + query
	}
}

// playbackFolder is where the playlists of an entry are.
func (s *Server) playbackFolder(entry string) string {
	return strings.TrimSuffix(s.config.PlaybackURL, "/") + "/" + s.config.Application + "/smil:" + entry + "_all.smil/"
}

// format is a way to watch; without leaf klive does not offer it.
type format struct{ protocol, leaf string }

// protocols are what entries list, in the generation's order. Clients of 2015 look for HDS
// and Smooth Streaming, and find no address there.
func (s *Server) protocols() []format {
	if s.config.Generation == Generation2015 {
		return []format{{"hds", ""}, {"hls", "playlist.m3u8"}, {"applehttp", "playlist.m3u8"}, {"sl", ""}, {"mpegdash", "manifest.mpd"}}
	}
	return []format{{"hls", "playlist.m3u8"}, {"applehttp", "playlist.m3u8"}, {"mpegdash", "manifest.mpd"}}
}

// broadcasting fills in where encoders publish (contract §3.15).
func (s *Server) broadcasting(e *kaltura.LiveStreamEntry) {
	base := s.config.IngestURL
	if base == "" {
		base = "rtmp://" + hostPort(s.config.PublicHost, s.config.RTMPPort) + "/" + s.config.Application
	}
	query := func(index string) string {
		return "/?p=" + strconv.Itoa(e.PartnerID) + "&e=" + e.ID + "&i=" + index + "&t=" + e.StreamPassword
	}
	e.PrimaryBroadcastingURL, e.SecondaryBroadcastingURL = base+query("0"), base+query("1")
	if s.config.RTMPSPort != 0 {
		secured := "rtmps://" + hostPort(s.config.PublicHost, s.config.RTMPSPort) + "/" + s.config.Application
		e.PrimarySecuredBroadcastingURL, e.SecondarySecuredBroadcastingURL = secured+query("0"), secured+query("1")
	}
	if e.StreamName == "" {
		e.StreamName = e.ID + "_%i"
	}
	if s.config.SRTPort == 0 {
		return
	}
	srt := "srt://" + hostPort(s.config.PublicHost, s.config.SRTPort)
	e.PrimarySRTBroadcastingURL, e.SecondarySRTBroadcastingURL = srt, srt
	e.PrimarySRTStreamID = "#:::e=" + e.ID + ",st=0,p=" + e.StreamPassword
	e.SecondarySRTStreamID = "#:::e=" + e.ID + ",st=1,p=" + e.StreamPassword
}

// hostPort joins a host and a port, with brackets around IPv6 addresses.
func hostPort(host string, port int) string {
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
}

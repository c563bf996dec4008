package whip

import (
	"errors"
	"fmt"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

const (
	// replayWindow lets packets that were asked for again be that late: pion's own 64 are a
	// quarter of a second.
	replayWindow = 4096
	// disconnected is the silence after which a peer counts as away, failed that after which it
	// is given up.
	disconnected, failed = 5 * time.Second, 25 * time.Second
	keepAlive            = 2 * time.Second
	// feedbackEvery is the time between two reports of arrivals, by which browsers find their
	// bitrate.
	feedbackEvery = 100 * time.Millisecond
	// firstBinding bounds the time from a TCP connection to its first connectivity check, and
	// bindingAlive how long it may be without others.
	firstBinding, bindingAlive = 10 * time.Second, 30 * time.Second
	// maxTCP bounds the TCP connections at a time, for each session that there may be.
	maxTCP = 2
)

// newAPI makes what all peer connections of the process are made of.
func (s *Server) newAPI() (*webrtc.API, error) {
	engine := &webrtc.MediaEngine{}
	if err := registerCodecs(engine); err != nil {
		return nil, err
	}
	registry, err := interceptors(engine)
	if err != nil {
		return nil, err
	}
	var se webrtc.SettingEngine
	se.LoggerFactory = logs{s.cfg.Logger}
	se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	se.SetLite(s.cfg.Lite)
	se.SetICETimeouts(disconnected, failed, keepAlive)
	se.SetSRTPReplayProtectionWindow(replayWindow)
	se.SetReceiveMTU(readSize)
	se.SetIncludeLoopbackCandidate(s.cfg.Loopback)
	se.DisableActiveTCP(true)
	if err := s.sockets(&se); err != nil {
		return nil, err
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(se)), nil
}

// sockets has all connections share one UDP and one TCP socket.
func (s *Server) sockets(se *webrtc.SettingEngine) error {
	log := logs{s.cfg.Logger}
	s.udp = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: s.cfg.UDP, Logger: log.NewLogger("udp")})
	se.SetICEUDPMux(s.udp)
	types := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6}
	if s.cfg.TCP != nil {
		s.tcp = ice.NewTCPMuxDefault(ice.TCPMuxParams{
			Listener: limitListener(s.cfg.TCP, maxTCP*s.cfg.MaxSessions, s.cfg.Logger), Logger: log.NewLogger("tcp"), ReadBufferSize: 64, WriteBufferSize: 1 << 20,
			FirstStunBindTimeout: firstBinding, AliveDurationForConnFromStun: bindingAlive,
		})
		se.SetICETCPMux(s.tcp)
		types = append(types, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6)
	}
	se.SetNetworkTypes(types)
	if len(s.cfg.PublicAddresses) == 0 {
		return nil
	}
	rule := webrtc.ICEAddressRewriteRule{AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteReplace}
	for _, ip := range s.cfg.PublicAddresses {
		rule.External = append(rule.External, ip.String())
	}
	if err := se.SetICEAddressRewriteRules(rule); err != nil {
		return fmt.Errorf("whip: the public addresses: %w", err)
	}
	return nil
}

// interceptors make the reports that senders go by. Requests for packets are the reorder
// buffer's affair, those for keyframes the session's.
func interceptors(engine *webrtc.MediaEngine) (*interceptor.Registry, error) {
	registry := &interceptor.Registry{}
	reports, err := report.NewReceiverInterceptor()
	if err != nil {
		return nil, err
	}
	arrivals, err := twcc.NewSenderInterceptor(twcc.SendInterval(feedbackEvery))
	if err != nil {
		return nil, err
	}
	registry.Add(reports)
	registry.Add(arrivals)
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		err = errors.Join(err, engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.TransportCCURI}, kind),
			engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.SDESMidURI}, kind))
	}
	for _, uri := range []string{sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI} { // which layer a packet is of
		err = errors.Join(err, engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo))
	}
	return registry, err
}

// registerCodecs names one of each codec: what an offer has of it is brought to that form.
func registerCodecs(engine *webrtc.MediaEngine) error {
	feedback := []webrtc.RTCPFeedback{
		{Type: "transport-cc"}, {Type: "ccm", Parameter: "fir"}, {Type: "nack"}, {Type: "nack", Parameter: "pli"},
	}
	err := engine.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "transport-cc"}, {Type: "nack"}},
		},
		PayloadType: 111,
	}, webrtc.RTPCodecTypeAudio)
	for i, c := range codecs {
		number := webrtc.PayloadType(96 + 2*i)
		err = errors.Join(err, engine.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "video/" + c.name, ClockRate: 90000, SDPFmtpLine: c.format, RTCPFeedback: feedback},
			PayloadType:        number,
		}, webrtc.RTPCodecTypeVideo), engine.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: fmt.Sprintf("apt=%d", number)},
			PayloadType:        number + 1,
		}, webrtc.RTPCodecTypeVideo))
	}
	return err
}

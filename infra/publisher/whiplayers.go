package publisher

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// whipLayers are the sizes in which pictures are sent at a time: streams of one track, told
// apart by header extensions (RFC 8853, RFC 8852).
type whipLayers struct {
	transceiver *webrtc.RTPTransceiver
	list        []*whipLayer
}

type whipLayer struct {
	track *webrtc.TrackLocalStaticRTP
	rid   string
	seq   uint16
	base  uint32 // RTP times begin there
}

// registerLayers names the header extensions that layers need.
func registerLayers(engine *webrtc.MediaEngine) (err error) {
	for _, uri := range []string{sdp.SDESMidURI, sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI} {
		err = errors.Join(err, engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo))
	}
	return err
}

func (w *WHIP) addLayers() error {
	w.sizes = &whipLayers{}
	for i, rid := range w.cfg.Layers {
		t, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000}, "video", "klive", webrtc.WithRTPStreamID(rid))
		if err != nil {
			return err
		}
		if i == 0 {
			w.sizes.transceiver, err = w.pc.AddTransceiverFromTrack(t, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		} else {
			err = w.sizes.transceiver.Sender().AddEncoding(t)
		}
		if err != nil {
			return err
		}
		w.sizes.list = append(w.sizes.list, &whipLayer{track: t, rid: rid, seq: uint16(rand.Uint32()), base: rand.Uint32()})
	}
	for _, rid := range w.cfg.Layers {
		w.reading.Go(func() {
			w.feedback(func(b []byte) (int, interceptor.Attributes, error) {
				return w.sizes.transceiver.Sender().ReadSimulcast(b, rid)
			})
		})
	}
	return nil
}

// Layer sends an access unit of a layer, as [WHIP.Video] does.
func (w *WHIP) Layer(i int, payload []byte, at time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.sizes.list[i]
	names := map[string]string{sdp.SDESMidURI: w.sizes.transceiver.Mid(), sdp.SDESRTPStreamIDURI: l.rid}
	known := w.sizes.transceiver.Sender().GetParameters().HeaderExtensions
	list := packetize(payload, whipMTU-12-48) // the extensions' room
	for n, p := range list {
		h := rtp.Header{Version: 2, SequenceNumber: l.seq, Timestamp: l.base + uint32(at*9/100_000), Marker: n == len(list)-1}
		for _, e := range known {
			if name, ok := names[e.URI]; ok {
				if err := h.SetExtension(uint8(e.ID), []byte(name)); err != nil {
					return err
				}
			}
		}
		l.seq++
		if err := l.track.WriteRTP(&rtp.Packet{Header: h, Payload: p}); err != nil {
			return err
		}
	}
	return nil
}

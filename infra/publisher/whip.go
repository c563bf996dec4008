package publisher

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

const (
	whipMTU      = 1200
	whipPatience = 15 * time.Second
	whipAnswer   = 256 << 10
)

// WHIPConfig says where and how to publish over WebRTC (RFC 9725).
type WHIPConfig struct {
	// URL is the WHIP endpoint with broadcast parameters; the token in its query, or in Token.
	URL   string
	Token string
	// Client makes the requests; nil means http.DefaultClient.
	Client *http.Client
	// Setting changes how connections are made; may be nil.
	Setting func(*webrtc.SettingEngine)
	// Via is a UDP address that stands for all of the server's, host:port; empty means those that
	// the answer names. The server then is not told of this side's.
	Via string
	// NoVideo and NoAudio leave a track out.
	NoVideo, NoAudio bool
	// Layers are the names (RIDs) of the sizes in which pictures are sent at a time (RFC 8853); nil
	// for one size.
	Layers []string
}

// WHIP is one connection to a WHIP server that sends H.264 and Opus.
type WHIP struct {
	cfg      WHIPConfig
	pc       *webrtc.PeerConnection
	video    *webrtc.TrackLocalStaticRTP
	audio    *webrtc.TrackLocalStaticRTP
	sizes    *whipLayers // nil without layers
	keyframe chan struct{}
	done     chan struct{} // closed when the connection has ended
	ended    sync.Once
	reading  sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	session  string     // its address
	tag      string
	videoSeq uint16
	audioSeq uint16
	base     uint32 // RTP times begin there
}

// StatusError is a server's answer that says no.
type StatusError struct {
	Status int
	Text   string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answers %d: %s", e.Status, e.Text)
}

// DialWHIP makes an offer and returns when the connection stands.
func DialWHIP(ctx context.Context, c WHIPConfig) (*WHIP, error) {
	if c.Client == nil {
		c.Client = http.DefaultClient
	}
	w := &WHIP{cfg: c, keyframe: make(chan struct{}, 1), done: make(chan struct{}), base: rand.Uint32(), videoSeq: uint16(rand.Uint32()), audioSeq: uint16(rand.Uint32())}
	if err := w.dial(ctx); err != nil {
		w.release()
		return nil, err
	}
	return w, nil
}

func (w *WHIP) dial(ctx context.Context) error {
	api, err := w.api()
	if err != nil {
		return err
	}
	if w.pc, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return err
	}
	if err := w.addTracks(); err != nil {
		return err
	}
	connected := make(chan webrtc.PeerConnectionState, 8)
	w.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateClosed || s == webrtc.PeerConnectionStateFailed {
			w.ended.Do(func() { close(w.done) })
		}
		select {
		case connected <- s:
		default:
		}
	})
	answer, err := w.offer(ctx)
	if err != nil {
		return err
	}
	if err := w.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: w.via(answer)}); err != nil {
		return fmt.Errorf("the WHIP server's answer can't be used: %w", err)
	}
	patience := time.NewTimer(whipPatience)
	defer patience.Stop()
	for {
		select {
		case s := <-connected:
			switch s {
			case webrtc.PeerConnectionStateConnected:
				return nil
			case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
				return errors.New("no WebRTC connection came about: the server's UDP or TCP port can't be reached")
			}
		case <-patience.C:
			return fmt.Errorf("no WebRTC connection came about within %v", whipPatience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// api answers requests for lost packets, and tells of its clock.
func (w *WHIP) api() (*webrtc.API, error) {
	engine := &webrtc.MediaEngine{}
	err := engine.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
			RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}},
		}, PayloadType: 102,
	}, webrtc.RTPCodecTypeVideo)
	err = errors.Join(err, engine.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}},
		}, PayloadType: 111,
	}, webrtc.RTPCodecTypeAudio))
	if w.cfg.Layers != nil {
		err = errors.Join(err, registerLayers(engine))
	}
	registry := &interceptor.Registry{}
	responder, rerr := nack.NewResponderInterceptor(nack.ResponderSize(2048))
	reports, serr := report.NewSenderInterceptor(report.SenderInterval(500 * time.Millisecond))
	if err = errors.Join(err, rerr, serr); err != nil {
		return nil, err
	}
	registry.Add(responder)
	registry.Add(reports)
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	if w.cfg.Setting != nil {
		w.cfg.Setting(&se)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(se)), nil
}

func (w *WHIP) addTracks() (err error) {
	switch {
	case w.cfg.Layers != nil:
		if err = w.addLayers(); err != nil {
			return err
		}
	case !w.cfg.NoVideo:
		if w.video, err = w.addTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000}, "video"); err != nil {
			return err
		}
	}
	if !w.cfg.NoAudio {
		w.audio, err = w.addTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "audio")
	}
	return err
}

func (w *WHIP) addTrack(c webrtc.RTPCodecCapability, name string) (*webrtc.TrackLocalStaticRTP, error) {
	t, err := webrtc.NewTrackLocalStaticRTP(c, name, "klive")
	if err != nil {
		return nil, err
	}
	tr, err := w.pc.AddTransceiverFromTrack(t, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, err
	}
	w.reading.Go(func() { w.feedback(tr.Sender().Read) })
	return t, nil
}

// feedback hears what the server asks for.
func (w *WHIP) feedback(read func([]byte) (int, interceptor.Attributes, error)) {
	buf := make([]byte, 1500)
	for {
		n, _, err := read(buf)
		if err != nil {
			return
		}
		list, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		for _, p := range list {
			if _, ok := p.(*rtcp.PictureLossIndication); ok {
				select {
				case w.keyframe <- struct{}{}:
				default:
				}
			}
		}
	}
}

// ErrEnded is returned when the server has ended the session.
var ErrEnded = errors.New("the WHIP server has ended the session; its log says why")

// Done is closed when the connection has ended.
func (w *WHIP) Done() <-chan struct{} { return w.done }

// Session is the session's address and its entity tag.
func (w *WHIP) Session() (address, tag string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session, w.tag
}

// Peer is the connection itself.
func (w *WHIP) Peer() *webrtc.PeerConnection { return w.pc }

// offer posts an offer with all candidates and returns the answer.
func (w *WHIP) offer(ctx context.Context) (string, error) {
	o, err := w.pc.CreateOffer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(w.pc)
	if err := w.pc.SetLocalDescription(o); err != nil {
		return "", err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	res, text, err := w.do(ctx, http.MethodPost, w.cfg.URL, "application/sdp", "", w.hide(w.pc.LocalDescription().SDP))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusCreated {
		return "", &StatusError{res.StatusCode, detail(text)}
	}
	base, err := url.Parse(w.cfg.URL)
	if err != nil {
		return "", err
	}
	at, err := base.Parse(res.Header.Get("Location"))
	if err != nil || res.Header.Get("Location") == "" {
		return "", errors.New("the WHIP server's answer has no session address")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session, w.tag = at.String(), res.Header.Get("ETag")
	return text, nil
}

// hide takes this side's candidates out of a description, when there is one way alone.
func (w *WHIP) hide(description string) string {
	if w.cfg.Via == "" {
		return description
	}
	return withICE(description, "")
}

// via puts the one way there is into what a server answers.
func (w *WHIP) via(description string) string {
	if w.cfg.Via == "" {
		return description
	}
	host, port, _ := net.SplitHostPort(w.cfg.Via)
	return withCandidates(description, fmt.Sprintf("a=candidate:1 1 udp 2130706431 %s %s typ host", host, port))
}

// do makes one request.
func (w *WHIP) do(ctx context.Context, method, address, kind, match, body string) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	r.Header.Set("User-Agent", "klive publish")
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	if match != "" {
		r.Header.Set("If-Match", match)
	}
	if w.cfg.Token != "" {
		r.Header.Set("Authorization", "Bearer "+w.cfg.Token)
	}
	res, err := w.cfg.Client.Do(r)
	if err != nil {
		return nil, "", fmt.Errorf("the WHIP server does not answer: %w", withoutQuery(err))
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, whipAnswer))
	return res, string(text), err
}

// withoutQuery takes the token out of an error.
func withoutQuery(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// detail is what a problem says.
func detail(text string) string {
	var problem struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal([]byte(text), &problem) != nil || problem.Detail == "" {
		return fmt.Sprintf("%.200s", text)
	}
	return problem.Detail
}

// Video sends an access unit with four-byte lengths, as [media.Frame] has it, shown at a time
// since the beginning.
func (w *WHIP) Video(payload []byte, at time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := packetize(payload, whipMTU-12)
	for i, p := range list {
		h := rtp.Header{Version: 2, SequenceNumber: w.videoSeq, Timestamp: w.base + uint32(at*9/100_000), Marker: i == len(list)-1}
		w.videoSeq++
		if err := w.video.WriteRTP(&rtp.Packet{Header: h, Payload: p}); err != nil {
			return err
		}
	}
	return nil
}

// Audio sends an Opus packet.
func (w *WHIP) Audio(packet []byte, at time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := rtp.Header{Version: 2, SequenceNumber: w.audioSeq, Timestamp: w.base + uint32(at*6/125_000), Marker: false}
	w.audioSeq++
	return w.audio.WriteRTP(&rtp.Packet{Header: h, Payload: packet})
}

// packetize makes payloads of NAL units with four-byte lengths: one for each, or fragments of it
// (RFC 6184 §5.6, §5.8).
func packetize(b []byte, most int) (list [][]byte) {
	for len(b) >= 4 {
		n := int(binary.BigEndian.Uint32(b))
		if n == 0 || n > len(b)-4 {
			break
		}
		unit := b[4 : 4+n]
		b = b[4+n:]
		if n <= most {
			list = append(list, unit)
			continue
		}
		head, flags := unit[0], byte(0x80)
		for unit = unit[1:]; len(unit) > 0; flags = 0 {
			size := min(len(unit), most-2)
			if size == len(unit) {
				flags |= 0x40
			}
			list = append(list, append([]byte{head&0xe0 | 28, flags | head&0x1f}, unit[:size]...))
			unit = unit[size:]
		}
	}
	return list
}

// Close ends the session in order.
func (w *WHIP) Close(ctx context.Context) error {
	defer w.release()
	address, _ := w.Session()
	if address == "" {
		return nil
	}
	res, text, err := w.do(ctx, http.MethodDelete, address, "", "", "")
	if err == nil && res.StatusCode >= 300 {
		err = &StatusError{res.StatusCode, detail(text)}
	}
	return err
}

// Vanish drops the connection without a word.
func (w *WHIP) Vanish() { w.release() }

func (w *WHIP) release() {
	if w.pc != nil {
		_ = w.pc.GracefulClose()
	}
	w.reading.Wait()
}

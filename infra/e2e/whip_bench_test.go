package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"

	"klive/infra/check/fault"
	"klive/infra/publisher"
)

// aimWHIP is the most that klive may take for a stream over what pion takes alone.
const aimWHIP = 1.0

// BenchmarkWHIPStreams measures what WebRTC publishers of 2.5 Mbit/s cost the server: klive in a
// process of its own, the publishers in this one, and then pion with its SampleBuilder and nothing
// behind it, in a process of its own as well.
func BenchmarkWHIPStreams(b *testing.B) {
	for _, n := range []int{1, 10, 50} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				measureWHIP(b, n)
			}
		})
	}
}

func measureWHIP(b *testing.B, n int) {
	p := start(b, "KLIVE_LOG_LEVEL=warn")
	clip := demoClip(b, publisher.Synthetic{Width: 1280, Height: 720, RepeatSets: true, Bitrate: 2_500_000})
	run := length(time.Minute, 20*time.Second)
	const settle = 10 * time.Second
	stop := whipPublishers(b, p.client, p.http, p.addEntries(b, n), clip)
	time.Sleep(settle)
	before, begin := p.usage(b), time.Now()
	time.Sleep(run)
	after, took := p.usage(b), time.Since(begin)
	lost := p.metric(b, `klive_whip_packets_total{kind="dropped"}`)
	received := p.metric(b, `klive_whip_packets_total{kind="received"}`)
	stop()
	p.stop(b)
	alone := pionCost(b, clip, n, run, settle)
	minutes := took.Minutes() * float64(n)
	cpu, memory := (after.cpu-before.cpu).Seconds()/minutes, after.resident/float64(n)
	b.ReportMetric(cpu, "cpu-s/stream-min")
	b.ReportMetric(alone, "pion-cpu-s/stream-min")
	b.ReportMetric(memory, "MB/stream")
	b.ReportMetric(float64(lost), "lost-packets")
	b.ReportMetric(0, "ns/op")
	b.Logf("%2d streams: %.3f CPU s per stream-minute, %.2f %% of a core each; pion alone takes %.3f, %.2f %% (aim: %.1f times that and %.2f for the way behind it, %.3f); %.1f MB per stream, %d of %d packets lost",
		n, cpu, cpu/0.6, alone, alone/0.6, aimWHIP, aimCPU, aimWHIP*alone+aimCPU, memory, lost, received)
}

// whipPublishers play a clip to a host, one for each entry, until they are told to stop.
func whipPublishers(b *testing.B, client *http.Client, host string, entries []entry, clip *publisher.Clip) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var playing sync.WaitGroup
	for _, e := range entries {
		w := dialWHIP(b, client, host, e, "")
		playing.Go(func() {
			_ = w.Play(ctx, publisher.WHIPPlay{Clip: clip})
			_ = w.Close(context.Background())
		})
		time.Sleep(2 * time.Second / time.Duration(len(entries))) // not all keyframes at once
	}
	return func() { cancel(); playing.Wait() }
}

// pionCost is the CPU of pion alone for n streams, in seconds per stream-minute.
func pionCost(b *testing.B, clip *publisher.Clip, n int, run, settle time.Duration) float64 {
	address := fault.Ports(b, 1)[0]
	sink := child(b, "whip-sink", address)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			b.Fatalf("pion does not listen: %s", sink.Output())
		}
	}
	entries := make([]entry, n)
	for i := range entries {
		entries[i] = entry{ID: "0_whip" + strconv.Itoa(i), Token: "none"}
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	stop := whipPublishers(b, client, address, entries, clip)
	defer stop()
	time.Sleep(settle)
	before, begin := sink.Usage().CPU, time.Now()
	time.Sleep(run)
	return (sink.Usage().CPU - before).Seconds() / (time.Since(begin).Minutes() * float64(n))
}

// sinkWHIP is pion alone, with what it has for receiving set up as pion has it by default: it takes
// every publisher at the address that is its argument, makes samples of the pictures, and throws
// them away.
func sinkWHIP(args []string) error {
	engine, registry := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := errors.Join(engine.RegisterDefaultCodecs(), webrtc.RegisterDefaultInterceptors(engine, registry)); err != nil {
		return err
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	var se webrtc.SettingEngine
	se.SetICEUDPMux(webrtc.NewICEUDPMux(nil, udp))
	se.SetIncludeLoopbackCandidate(true)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(se))
	return http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			return
		}
		answer, err := answerWHIP(api, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Location", r.URL.Path+"/session")
		w.Header().Set("Content-Type", "application/sdp")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer)
	}))
}

func answerWHIP(api *webrtc.API, r *http.Request) (string, error) {
	offer, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for samples := samplebuilder.New(256, &codecs.H264Packet{}, 90000); ; {
			p, _, err := t.ReadRTP()
			if err != nil {
				_ = pc.Close()
				return
			}
			samples.Push(p)
			for samples.Pop() != nil {
			}
		}
	})
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)}); err != nil {
		return "", err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"klive/infra/media"
)

// obsLines are the fields of OBS's settings for a stream as README.md has them, and an encoder. Capitals stand for addresses.
var obsLines = []struct{ name, server, key, encoder, codecs string }{
	{"RTMP", "rtmp://RTMP/kLive/?p=102&e=ENTRY&i=0&t=TOKEN", "ENTRY_1", "obs_x264", `avc1\.[0-9a-f]{6},mp4a\.40\.2`},
	{"Enhanced RTMP AV1", "rtmp://RTMP/kLive/?p=102&e=ENTRY&i=0&t=TOKEN", "ENTRY_1", "ffmpeg_svt_av1", `av01\.0\.0\dM\.08,mp4a\.40\.2`},
	{"SRT", "srt://SRT?streamid=%23!::r=ENTRY_1,m=publish,u=102,i=0,s=TOKEN", "", "obs_x264", `avc1\.[0-9a-f]{6},mp4a\.40\.2`},
}

// TestEncodersOBS has OBS publish a clip for the better part of a minute, whose beginning it spends with itself.
func TestEncodersOBS(t *testing.T) {
	for _, c := range obsLines {
		t.Run(c.name, func(t *testing.T) {
			r := debian(t, "trixie")
			p := start(t, "KLIVE_SEGMENT_DURATION=2s", "KLIVE_BROADCAST_RESUME=2s")
			e := p.addEntries(t, 1)[0]
			addresses := strings.NewReplacer("RTMP", p.rtmp, "SRT", p.srt, "ENTRY", e.ID, "TOKEN", e.Token)
			r.configureOBS(t, addresses.Replace(c.server), addresses.Replace(c.key), c.encoder)
			obs := r.run(t, "sh", "-c", obsScript)
			f := follow(t, p, e.ID, obs.done)
			for line := range strings.Lines(obs.says.String()) {
				if strings.Contains(line, "OBS 3") || strings.Contains(line, "frames") {
					t.Log(strings.TrimSpace(line))
				}
			}
			holdWhole(t, p, e.ID, f)
			holdNamed(t, p, e.ID, c.codecs, "640x360")
			if n := len(f.Kind(media.Video).Units()); n < 15*fps || t.Failed() {
				t.Errorf("%d pictures are stored\n%s\n%s", n, obs.says.Bytes(), p.log)
			}
		})
	}
}

// obsScript runs OBS, which wants a screen and a session bus, with the settings in /mnt, and ends it after a minute.
const obsScript = `mkdir -p /tmp/.config && cp -r /mnt/obs-studio /tmp/.config/ &&
exec xvfb-run -a dbus-run-session -- timeout --preserve-status --signal=INT --kill-after=30 60 \
  obs --startstreaming --multi --profile klive --collection klive --disable-shutdown-check --disable-missing-files-check --disable-updater`

// configureOBS writes the settings of OBS, and the clip that it plays.
func (r *root) configureOBS(t *testing.T, server, key, encoder string) {
	t.Helper()
	clip := r.ffmpeg(t, "-f lavfi -i testsrc2=size=640x360:rate=30:duration=10 -f lavfi -i sine=duration=10",
		"-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 30 -c:a aac /mnt/clip.mp4")
	if <-clip.done; clip.err != nil {
		t.Fatalf("the clip: %v\n%s", clip.err, clip.says.Bytes())
	}
	form := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	type object map[string]any
	zero, one := object{"x": 0, "y": 0}, object{"x": 1, "y": 1}
	for name, text := range map[string]string{
		"global.ini": "[General]\nFirstRun=true\nConfirmOnExit=false\nEnableAutoUpdates=false\nInfoIncrement=1000\nLastVersion=503447554\n",
		"basic/profiles/klive/basic.ini": "[General]\nName=klive\n[Video]\nBaseCX=640\nBaseCY=360\nOutputCX=640\nOutputCY=360\nFPSType=0\nFPSCommon=30\n" +
			"[Output]\nMode=Advanced\n[AdvOut]\nEncoder=" + encoder + "\nAudioEncoder=ffmpeg_aac\nTrackIndex=1\n",
		"basic/profiles/klive/service.json":       form(object{"type": "rtmp_custom", "settings": object{"server": server, "key": key}}),
		"basic/profiles/klive/streamEncoder.json": form(object{"keyint_sec": 2, "bitrate": 1000}),
		"basic/scenes/klive.json": form(object{
			"name": "klive", "current_scene": "Scene", "current_program_scene": "Scene", "scene_order": []object{{"name": "Scene"}},
			"sources": []object{
				{"id": "ffmpeg_source", "name": "clip", "mixers": 255, "settings": object{"local_file": "/mnt/clip.mp4", "looping": true}},
				{"id": "scene", "name": "Scene", "settings": object{"id_counter": 1, "items": []object{
					{"name": "clip", "id": 1, "visible": true, "align": 5, "pos": zero, "scale": one, "bounds": zero},
				}}},
			},
		}),
	} {
		path := filepath.Join(r.share, "obs-studio", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

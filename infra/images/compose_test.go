package images

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"klive/infra/check/fault"
	"klive/infra/config"
	"klive/storage/storagetest"
)

const secret = "compose-test-secret-0001"

// composeFile is what the tests read of compose.yaml.
type composeFile struct {
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Image       string
	Command     []string
	Environment map[string]string
	Volumes     []string
	Ports       []string
	DependsOn   any  `yaml:"depends_on"`
	ReadOnly    bool `yaml:"read_only"`
	Build       struct{ Context, Dockerfile, Target string }
}

func (s service) ours() bool { return s.Build.Target != "" && len(s.Command) > 0 }

// readCompose reads compose.yaml with the secret that it asks for.
func readCompose(t *testing.T) composeFile {
	t.Helper()
	text, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	asked := regexp.MustCompile(`\$\{KLIVE_SECRET:\?[^}]*\}`)
	text = asked.ReplaceAll(text, []byte(secret))
	var c composeFile
	// A key beside "<<" wins over the merged one; the library takes the two for a mistake.
	if err := yaml.UnmarshalWithOptions(text, &c, yaml.AllowDuplicateMapKey()); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCompose wants services that exist, settings that klive has and the images' targets.
func TestCompose(t *testing.T) {
	c := readCompose(t)
	known := map[string]bool{}
	for _, k := range config.Keys() {
		known[k.Env] = true
	}
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var roles []string
	for name, s := range c.Services {
		if s.Build.Target != "" && !strings.Contains(string(dockerfile), " AS "+s.Build.Target+"\n") {
			t.Errorf("%s: the Dockerfile has no target %s", name, s.Build.Target)
		}
		for v := range s.Environment {
			if strings.HasPrefix(v, config.EnvPrefix) && !known[v] {
				t.Errorf("%s: klive has no setting %s", name, v)
			}
		}
		for _, on := range names(s.DependsOn) {
			if _, ok := c.Services[on]; !ok {
				t.Errorf("%s depends on %s, which is no service", name, on)
			}
		}
		for _, v := range s.Volumes {
			if from, _, _ := strings.Cut(v, ":"); !strings.HasPrefix(from, ".") && !has(c.Volumes, from) {
				t.Errorf("%s: there is no volume %s", name, from)
			}
		}
		if s.ours() {
			roles = append(roles, s.Command[0])
			if !s.ReadOnly {
				t.Errorf("%s may write to its root", name)
			}
		}
	}
	for _, name := range []string{"control", "origin", "worker"} { // what runs ffmpeg
		if s := c.Services[name]; s.Build.Target != "worker" || s.Image != "klive-worker" {
			t.Errorf("%s runs in the image %s, target %s", name, s.Image, s.Build.Target)
		}
	}
	slices.Sort(roles)
	if want := []string{"bus", "control", "gateway", "origin", "worker"}; !slices.Equal(roles, want) {
		t.Errorf("the roles are %v, want %v", roles, want)
	}
	d := config.Default()
	for _, want := range []string{d.RTMP.Listen, d.SRT.Listen, d.HTTP.Listen, d.WebRTC.Listen} {
		port := strings.TrimPrefix(want, ":")
		if !strings.Contains(strings.Join(c.Services["gateway"].Ports, " "), port+":"+port) {
			t.Errorf("gateway does not publish %s", want)
		}
		if !strings.Contains(string(dockerfile), port+"/") {
			t.Errorf("the Dockerfile does not expose %s", want)
		}
	}
	conf, err := os.ReadFile("nginx.conf")
	if err != nil || !strings.Contains(string(conf), "http://origin"+d.HTTP.Listen+";") {
		t.Errorf("nginx.conf does not lead to origin%s (%v)", d.HTTP.Listen, err)
	}
}

func names(dependsOn any) (out []string) {
	switch v := dependsOn.(type) {
	case []any:
		for _, n := range v {
			out = append(out, fmt.Sprint(n))
		}
	case map[string]any:
		out = slices.Collect(maps.Keys(v))
	}
	return out
}

func has(m map[string]any, key string) bool { _, ok := m[key]; return ok }

// stack runs compose.yaml's services as plain processes.
type stack struct {
	t       *testing.T
	compose composeFile
	dir     string
	binary  string
	// places are the services' addresses in compose.yaml and here.
	places *strings.Replacer
	at     map[string]string
}

// TestComposeCarriesAStream runs the services with compose.yaml's environment, other
// addresses apart, and follows a stream from an encoder to what nginx serves.
func TestComposeCarriesAStream(t *testing.T) {
	for _, tool := range []string{"ffmpeg", "nginx"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIP: there is no %s in the PATH", tool)
		}
	}
	s := &stack{t: t, compose: readCompose(t), dir: t.TempDir(), at: map[string]string{}}
	store := storagetest.GatewayBinary(t)
	s.binary = filepath.Join(s.dir, "klive")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", s.binary, "klive").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	addresses := []string{"bus:4222", "store:7070", "control:8081", "origin:8080", "gateway:1935", "cdn:8000"}
	var pairs []string
	for i, addr := range fault.Ports(t, len(addresses)) {
		s.at[addresses[i]] = addr
		pairs = append(pairs, addresses[i], addr)
	}
	s.places = strings.NewReplacer(pairs...)

	if err := os.MkdirAll(filepath.Join(s.dir, "s3", "live"), 0o755); err != nil {
		t.Fatal(err)
	}
	st := s.compose.Services["store"]
	args := append([]string{"--port", s.at["store:7070"]}, st.Command[2:]...)
	args[len(args)-1] = filepath.Join(s.dir, "s3")
	fault.Start(t, fault.Spec{
		Name: "store", Path: store, Args: args, Env: s.environment(st.Environment), Log: filepath.Join(s.dir, "store.log"),
		Ready: listening(s.at["store:7070"]),
	})
	for _, name := range []string{"bus", "control", "origin", "worker", "gateway"} {
		s.start(name)
	}
	s.nginx()
	s.publish("0_demolive")
	s.play("0_demolive")
}

// start starts one of klive's services and waits until it is ready.
func (s *stack) start(name string) {
	s.t.Helper()
	sv := s.compose.Services[name]
	admin := fault.Ports(s.t, 1)[0]
	set := maps.Clone(sv.Environment)
	set["KLIVE_DATA"] = filepath.Join(s.dir, name)
	// Containers have ports of their own; here they share the host's.
	set["KLIVE_RTMP_LISTEN"], set["KLIVE_HTTP_LISTEN"], set["KLIVE_SRT_LISTEN"] = "", "", ""
	set["KLIVE_WEBRTC_LISTEN"] = ""
	set["KLIVE_INTERNAL_LISTEN"] = fault.Ports(s.t, 1)[0]
	switch name {
	case "bus":
		set["KLIVE_BUS_LISTEN"] = s.at["bus:4222"]
	case "control":
		admin = s.at["control:8081"]
	case "gateway":
		set["KLIVE_RTMP_LISTEN"] = s.at["gateway:1935"]
		set["KLIVE_HTTP_LISTEN"], set["KLIVE_WEBRTC_LISTEN"] = fault.Ports(s.t, 1)[0], fault.Ports(s.t, 1)[0]
	case "origin":
		set["KLIVE_HTTP_LISTEN"] = s.at["origin:8080"]
	}
	set["KLIVE_ADMIN_LISTEN"] = admin
	env := s.environment(set)
	fault.Start(s.t, fault.Spec{
		Name: name, Path: s.binary, Args: sv.Command, Env: env, Log: filepath.Join(s.dir, name+".log"), Patience: time.Minute,
		// The image's health check.
		Ready: func(ctx context.Context) error {
			cmd := exec.CommandContext(ctx, s.binary, "health")
			cmd.Env = env
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("klive health: %w: %s", err, out)
			}
			return nil
		},
	})
}

func (s *stack) environment(set map[string]string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "AWS_EC2_METADATA_DISABLED=true"}
	for k, v := range set {
		env = append(env, k+"="+s.places.Replace(v))
	}
	return env
}

// nginx starts nginx with the compose file's configuration.
func (s *stack) nginx() {
	s.t.Helper()
	conf, err := os.ReadFile("nginx.conf")
	if err != nil {
		s.t.Fatal(err)
	}
	text := s.places.Replace(string(conf))
	text = strings.Replace(text, "listen 8000;", "listen "+s.at["cdn:8000"]+";", 1)
	text = strings.Replace(text, "/tmp/klive-cache", filepath.Join(s.dir, "cache"), 1)
	text = "daemon off;\nmaster_process off;\npid " + s.dir + "/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n" + text + "}\n"
	path := filepath.Join(s.dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	fault.Start(s.t, fault.Spec{
		Name: "nginx", Path: "nginx", Args: []string{"-p", s.dir, "-c", path}, Env: os.Environ(), Log: filepath.Join(s.dir, "nginx.log"),
		Ready: listening(s.at["cdn:8000"]),
	})
}

func listening(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err
	}
}

// publish has ffmpeg send a small picture to an entry until the test ends.
func (s *stack) publish(entry string) {
	s.t.Helper()
	fault.Launch(s.t, fault.Spec{
		Name: "encoder", Path: "ffmpeg", Env: os.Environ(), Log: filepath.Join(s.dir, "encoder.log"),
		Args: []string{
			"-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine",
			"-t", "90", "-threads", "1", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50", "-c:a", "aac", "-f", "flv",
			"rtmp://" + s.at["gateway:1935"] + "/kLive/?p=102&e=" + entry + "&i=0&t=demo1234/" + entry + "_1",
		},
	})
}

// play follows playlists at nginx down to a segment.
func (s *stack) play(entry string) {
	s.t.Helper()
	base := "http://" + s.at["cdn:8000"] + "/kLive/smil:" + entry + "_all.smil/playlist.m3u8"
	multi := s.await(base, "#EXT-X-STREAM-INF")
	media := s.resolve(base, firstURI(multi))
	s.t.Logf("a segment of %d bytes is served", len(s.segment(media)))
}

// segment waits for a segment of a media playlist. A machine that is too slow for the whole ladder
// leaves gaps, which are passed over; nothing but gaps is an error.
func (s *stack) segment(media string) string {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if uri := made(s.await(media, "#EXTINF")); uri != "" {
			return s.await(s.resolve(media, uri), "moof")
		}
	}
	s.t.Fatalf("%s has nothing but gaps", media)
	return ""
}

// made is the first segment of a media playlist that is no gap, empty without one.
func made(playlist string) string {
	gap := false
	for line := range strings.Lines(playlist) {
		switch line = strings.TrimSpace(line); {
		case line == "#EXT-X-GAP":
			gap = true
		case line != "" && !strings.HasPrefix(line, "#"):
			if !gap {
				return line
			}
			gap = false
		}
	}
	return ""
}

func firstURI(playlist string) string {
	for line := range strings.Lines(playlist) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return ""
}

func (s *stack) resolve(base, ref string) string {
	s.t.Helper()
	b, err := url.Parse(base)
	if err != nil {
		s.t.Fatal(err)
	}
	u, err := b.Parse(ref)
	if err != nil {
		s.t.Fatal(err)
	}
	return u.String()
}

// await asks until the answer holds a text.
func (s *stack) await(address, text string) string {
	s.t.Helper()
	last := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		resp, err := http.Get(address)
		if err != nil {
			last = err.Error()
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK && strings.Contains(string(body), text) {
			return string(body)
		}
		last = resp.Status
	}
	s.t.Fatalf("%s does not come to hold %q: %s", address, text, last)
	return ""
}

func TestMade(t *testing.T) {
	const head = "#EXTM3U\n#EXT-X-MAP:URI=\"init.mp4\"\n"
	for playlist, want := range map[string]string{
		head: "",
		head + "#EXTINF:4,\na.m4s\n#EXTINF:4,\nb.m4s\n":                           "a.m4s",
		head + "#EXTINF:4,\n#EXT-X-GAP\na.m4s\n#EXTINF:4,\nb.m4s\n":               "b.m4s",
		head + "#EXTINF:4,\n#EXT-X-GAP\na.m4s\n#EXTINF:4,\n#EXT-X-GAP\r\nb.m4s\n": "",
	} {
		if got := made(playlist); got != want {
			t.Errorf("%q: got %q, want %q", playlist, got, want)
		}
	}
}

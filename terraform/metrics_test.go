package terraform

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"klive/infra/check/fault"
	"klive/infra/telemetry"
)

// series is a metric as CloudWatch keeps it.
type series struct{ namespace, role, name string }

func (s series) String() string { return fmt.Sprintf("%s{Role=%s} of %s", s.name, s.role, s.namespace) }

// wanted lists what the alarms, graphs and scaling rules of a plan look at, by who looks.
func wanted(t *testing.T, all []resource) map[series]string {
	t.Helper()
	out := map[series]string{}
	add := func(who string, namespace, name any, dimensions any) {
		role := ""
		if d, ok := dimensions.(map[string]any); ok {
			role = fmt.Sprint(d["Role"])
		}
		if n := fmt.Sprint(namespace); strings.HasPrefix(n, "klive/") && role != "" {
			out[series{n, role, fmt.Sprint(name)}] = who
		}
	}
	for _, r := range of(all, "aws_cloudwatch_metric_alarm") {
		add(r.Address, r.Values["namespace"], r.Values["metric_name"], r.Values["dimensions"])
		for _, q := range list(r.Values["metric_query"]) {
			for _, m := range list(q["metric"]) {
				add(r.Address, m["namespace"], m["metric_name"], m["dimensions"])
			}
		}
	}
	for _, r := range of(all, "aws_appautoscaling_policy") {
		for _, c := range list(r.Values["target_tracking_scaling_policy_configuration"]) {
			for _, m := range list(c["customized_metric_specification"]) {
				for _, d := range list(m["dimensions"]) {
					add(r.Address, m["namespace"], m["metric_name"], map[string]any{fmt.Sprint(d["name"]): d["value"]})
				}
			}
		}
	}
	for _, r := range of(all, "aws_cloudwatch_dashboard") {
		for _, m := range graphs(t, r) {
			add(r.Address, m[0], m[1], map[string]any{fmt.Sprint(m[2]): m[3]})
		}
	}
	return out
}

// graphs are a dashboard's metrics. A gauge comes several times a minute from each process: its
// sum is no number of anything until it is scaled.
func graphs(t *testing.T, r resource) (out [][]any) {
	t.Helper()
	var body struct {
		Widgets []struct {
			Properties struct {
				Title, Stat string
				Metrics     [][]any
			}
		}
	}
	if err := json.Unmarshal([]byte(fmt.Sprint(r.Values["dashboard_body"])), &body); err != nil {
		t.Fatalf("%s: %v", r.Address, err)
	}
	for _, w := range body.Widgets {
		p := w.Properties
		if len(p.Metrics) != 2 || len(p.Metrics[0]) != 1 || len(p.Metrics[1]) != 5 {
			t.Fatalf("%s: the graph %q has the metrics %v", r.Address, p.Title, p.Metrics)
		}
		scaled := strings.Contains(fmt.Sprint(p.Metrics[0]), "* 15 / 60")
		if gauge := !strings.HasSuffix(fmt.Sprint(p.Metrics[1][1]), "_total"); scaled != (gauge && p.Stat == "Sum") {
			t.Errorf("%s: the graph %q of %v shows the %s scaled: %v", r.Address, p.Title, p.Metrics[1][1], p.Stat, scaled)
		}
		out = append(out, p.Metrics[1])
	}
	return out
}

// checkMetrics runs each role as the task definitions do and holds what an alarm, a graph or a
// scaling rule looks at against the lines that the processes print: namespace, dimension and name.
func checkMetrics(t *testing.T, want map[series]string) {
	t.Helper()
	if len(want) < 12 {
		t.Errorf("%d metrics are looked at only: %v", len(want), want)
	}
	got := printed(t, want)
	for s, who := range want {
		if !got[s] {
			t.Errorf("%s looks at %s, which no process prints", who, s)
		}
	}
	if t.Failed() {
		t.Log("printed:", slices.SortedFunc(maps.Keys(got), func(a, b series) int { return strings.Compare(a.String(), b.String()) }))
	}
	t.Logf("%d metrics are looked at, %d printed", len(want), len(got))
}

// printed runs a bus, a control plane and each role of the deployment, has each metric with labels
// counted once, and returns what they print for CloudWatch, as soon as all that is wanted is there.
func printed(t *testing.T, want map[series]string) map[series]bool {
	t.Helper()
	work := t.TempDir()
	binary := filepath.Join(work, "klive")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "klive").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	ports := fault.Ports(t, 5)
	bus, control, ingest, player := ports[0], ports[1], ports[2], ports[3]
	logs := map[string]string{}
	start := func(name string, args []string, set map[string]string) {
		env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + work, "AWS_EC2_METADATA_DISABLED=true"}
		all := map[string]string{
			"DATA": filepath.Join(work, name), "LOG_FORMAT": "json", "TELEMETRY_CLOUDWATCH_NAMESPACE": "klive/acme-live", "TELEMETRY_CLOUDWATCH_EVERY": "1s",
			"BUS_USER": "klive", "BUS_PASSWORD": "metrics-test-secret", "RTMP_LISTEN": "", "SRT_LISTEN": "", "HTTP_LISTEN": "", "INTERNAL_LISTEN": "127.0.0.1:0", "ADMIN_LISTEN": fault.Ports(t, 1)[0],
		}
		if name != "bus" {
			maps.Copy(all, map[string]string{
				"BUS_URL": "nats://" + bus, "STORAGE_URL": "file://" + filepath.Join(work, "store"), "CLUSTER_SECRET": "metrics-test-secret",
			})
		}
		switch name { // as the modules give it
		case "gateway", "owner":
			maps.Copy(all, map[string]string{"KALTURA_URL": "http://" + control, "KALTURA_SECRET": "metrics-test-secret", "WEBRTC_LISTEN": ""})
		case "control":
			all["CONTROL_SECRET"] = "metrics-test-secret"
		}
		maps.Copy(all, set)
		for k, v := range all {
			env = append(env, "KLIVE_"+k+"="+v)
		}
		logs[name] = filepath.Join(work, name+".log")
		fault.Start(t, fault.Spec{
			Name: name, Path: binary, Args: args, Env: env, Log: logs[name], Patience: time.Minute,
			Ready: func(ctx context.Context) error {
				cmd := exec.CommandContext(ctx, binary, "health")
				cmd.Env = env
				if out, err := cmd.CombinedOutput(); err != nil {
					return fmt.Errorf("klive health: %w: %s", err, out)
				}
				return nil
			},
		})
	}
	start("bus", []string{"bus"}, map[string]string{"BUS_LISTEN": bus})
	start("control", []string{"control"}, map[string]string{"ADMIN_LISTEN": control})
	start("owner", []string{"worker", "--roles", "live"}, nil)
	start("transcode", []string{"worker", "--roles", "transcode"}, nil)
	start("gateway", []string{"gateway"}, map[string]string{"HTTP_LISTEN": ingest})
	start("origin", []string{"origin"}, map[string]string{"HTTP_LISTEN": player})

	// What has labels appears with the first of its kind: a refusal, a request.
	ask(t, http.MethodPost, "http://"+ingest+"/ingest/0_nobody11_1?p=102&t=wrong")
	ask(t, http.MethodGet, "http://"+player+"/kLive/smil:0_demolive_all.smil/playlist.m3u8")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		got := map[series]bool{}
		for _, path := range logs {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			collect(t, text, got)
		}
		missing := func(s series) bool { return !got[s] }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(want)), missing) || time.Now().After(deadline) {
			return got
		}
	}
}

func ask(t *testing.T, method, address string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader("G"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode < 400 {
		t.Errorf("%s is answered %s", address, resp.Status)
	}
}

// collect reads lines in CloudWatch's embedded metric format out of a log. A metric counts when the
// line has its value and those of its dimensions.
func collect(t *testing.T, log []byte, into map[series]bool) {
	t.Helper()
	for line := range bytes.Lines(log) {
		var l map[string]any
		if json.Unmarshal(line, &l) != nil || l["_aws"] == nil {
			continue
		}
		var form struct {
			AWS struct {
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name string }
				}
			} `json:"_aws"`
		}
		if err := json.Unmarshal(line, &form); err != nil {
			t.Fatal(err)
		}
		for _, d := range form.AWS.CloudWatchMetrics {
			if fmt.Sprint(d.Dimensions) != "[[Role]]" {
				t.Fatalf("the dimensions are %v", d.Dimensions)
			}
			for _, m := range d.Metrics {
				if _, ok := l[m.Name].(float64); ok {
					into[series{d.Namespace, fmt.Sprint(l["Role"]), m.Name}] = true
				}
			}
		}
	}
}

// TestCountedLines wants the lines that are counted in the log to be those that klive writes.
func TestCountedLines(t *testing.T) {
	text, err := os.ReadFile("modules/observability/main.tf")
	if err != nil {
		t.Fatal(err)
	}
	patterns := regexp.MustCompile(`role = "([a-z]+)", pattern = "\{ \$\.([a-z]+) = \\"([^*"]+)\*\\" \}"`).FindAllStringSubmatch(string(text), -1)
	if len(patterns) != strings.Count(string(text), "pattern = \"") || len(patterns) == 0 {
		t.Fatalf("%d patterns could be read", len(patterns))
	}
	for _, p := range patterns {
		role, key, message := p[1], p[2], p[3]
		if role != "owner" {
			t.Errorf("the log of the service %s is looked at; owners record", role)
		}
		source, err := os.ReadFile("../workers/recorder/append.go")
		if err != nil {
			t.Fatal(err)
		}
		call := regexp.MustCompile(`Log\.(Error|Warn)\("(` + regexp.QuoteMeta(message) + `[^"]*)"`).FindSubmatch(source)
		if call == nil {
			t.Errorf("klive logs no line that begins with %q", message)
			continue
		}
		var out bytes.Buffer
		log, err := telemetry.NewLogger(&out, telemetry.LogConfig{Format: "json", Level: slog.LevelInfo})
		if err != nil {
			t.Fatal(err)
		}
		log.Error(string(call[2]))
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || !strings.HasPrefix(fmt.Sprint(line[key]), message) {
			t.Errorf("the message stands under another key than %s: %s (%v)", key, out.String(), err)
		}
	}
}

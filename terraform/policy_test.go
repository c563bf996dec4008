package terraform

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"klive/infra/config"
)

// resource is what a plan makes, or reads (mode data). Values that are known only once it is
// made are absent.
type resource struct {
	Address, Mode, Type string
	Values              map[string]any
}

type plan struct {
	Changes []struct {
		Address, Mode, Type string
		Change              struct{ After map[string]any }
	} `json:"resource_changes"`
	Prior struct {
		Values struct {
			Root planned `json:"root_module"`
		}
	} `json:"prior_state"`
}

type planned struct {
	Resources []resource
	Children  []planned `json:"child_modules"`
}

func (p planned) all() (out []resource) {
	out = append(out, p.Resources...)
	for _, c := range p.Children {
		out = append(out, c.all()...)
	}
	return out
}

// planExample plans an example against nothing.
func planExample(t *testing.T, dir string) []resource {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plan")
	for _, args := range [][]string{{"init"}, {"plan", "-refresh=false", "-out=" + file}} {
		if out, err := run(t, dir, args...); err != nil {
			if strings.Contains(string(out), "No valid credential sources") {
				t.Skip("SKIP: the real provider plans with credentials alone")
			}
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	text, err := run(t, dir, "show", "-json", file)
	if err != nil {
		t.Fatalf("show: %v\n%s", err, text)
	}
	if at := strings.IndexByte(string(text), '{'); at > 0 {
		text = text[at:] // warnings come first
	}
	var p plan
	if err := json.NewDecoder(strings.NewReader(string(text))).Decode(&p); err != nil {
		t.Fatal(err)
	}
	out := p.Prior.Values.Root.all()
	for _, c := range p.Changes {
		out = append(out, resource{c.Address, c.Mode, c.Type, c.Change.After})
	}
	return out
}

// TestPolicies holds the plan of each example against what a deployment keeps to, and the metrics
// that they look at against those that klive prints.
func TestPolicies(t *testing.T) {
	dir := workspace(t)
	watched := map[series]string{}
	for _, e := range examples {
		t.Run(e, func(t *testing.T) {
			all := planExample(t, filepath.Join(dir, "examples", e))
			t.Logf("%d resources", len(all))
			maps.Copy(watched, wanted(t, all))
			checkActions(t, all)
			checkIngress(t, all, e != "gpu")
			checkEncryption(t, all)
			checkHealth(t, all)
			checkTasks(t, all)
			checkOutage(t, all)
			checkDestroy(t, all)
		})
	}
	t.Run("metrics", func(t *testing.T) { checkMetrics(t, watched) })
}

func of(all []resource, kind string) (out []resource) {
	for _, r := range all {
		if r.Type == kind {
			out = append(out, r)
		}
	}
	return out
}

// list is a block or list of a resource; one block is a list of one.
func list(v any) (out []map[string]any) {
	items, _ := v.([]any)
	for _, i := range items {
		if m, ok := i.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func texts(v any) (out []string) {
	items, _ := v.([]any)
	for _, i := range items {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// checkActions allows no action with a star, and no resource "*", but for those named here.
func checkActions(t *testing.T, all []resource) {
	t.Helper()
	docs := of(all, "aws_iam_policy_document")
	if len(docs) < 10 {
		t.Errorf("%d policy documents only", len(docs))
	}
	for _, d := range docs {
		keyPolicy := strings.HasSuffix(d.Address, "data.aws_iam_policy_document.key")
		for _, s := range list(d.Values["statement"]) {
			sid := fmt.Sprint(s["sid"])
			deny := s["effect"] == "Deny"
			for _, a := range texts(s["actions"]) {
				if strings.Contains(a, "*") && !deny && !(keyPolicy && sid == "Account") {
					t.Errorf("%s: %s allows %s", d.Address, sid, a)
				}
			}
			if slices.Contains(texts(s["resources"]), "*") && !keyPolicy && sid != "RegistryLogin" {
				t.Errorf("%s: %s is for every resource", d.Address, sid)
			}
			if len(texts(s["not_actions"]))+len(texts(s["not_resources"])) > 0 {
				t.Errorf("%s: %s allows all but something", d.Address, sid)
			}
			for _, p := range list(s["principals"]) {
				if slices.Contains(texts(p["identifiers"]), "*") && !deny && !(keyPolicy && oneRole(s)) {
					t.Errorf("%s: %s is for everyone", d.Address, sid)
				}
				if p["type"] == "Service" && keyPolicy && len(list(s["condition"])) == 0 {
					t.Errorf("%s: %s lets a service use the key for other accounts", d.Address, sid)
				}
			}
		}
	}
}

// oneRole reports whether conditions make everyone one role of the account. KMS refuses a
// principal that does not exist yet, and takes a condition about it.
func oneRole(statement map[string]any) bool {
	narrow := map[string]bool{}
	for _, c := range list(statement["condition"]) {
		for _, v := range texts(c["values"]) {
			if test := fmt.Sprint(c["test"]); (test == "StringEquals" || test == "ArnEquals") && !strings.ContainsAny(v, "*?") {
				narrow[fmt.Sprint(c["variable"])] = true
			}
		}
	}
	return narrow["kms:CallerAccount"] && narrow["aws:PrincipalArn"]
}

// checkIngress allows the public listeners alone to be reached from an address range.
func checkIngress(t *testing.T, all []resource, webrtc bool) {
	t.Helper()
	open := map[string]bool{}
	for _, r := range of(all, "aws_vpc_security_group_ingress_rule") {
		if r.Values["cidr_ipv4"] == nil && r.Values["cidr_ipv6"] == nil {
			continue
		}
		if r.Values["from_port"] != r.Values["to_port"] {
			t.Errorf("%s opens a range of ports", r.Address)
		}
		open[fmt.Sprintf("%v/%v", r.Values["ip_protocol"], r.Values["from_port"])] = true
	}
	for _, g := range of(all, "aws_security_group") {
		if len(list(g.Values["ingress"])) > 0 {
			t.Errorf("%s has rules of its own", g.Address)
		}
	}
	want := []string{"tcp/1935", "tcp/443", "udp/8890"}
	if webrtc {
		want = append(want, "tcp/8189", "udp/8189")
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(open)); !slices.Equal(got, want) {
		t.Errorf("open ports are %v, want %v", got, want)
	}
}

// checkEncryption wants data encrypted where they rest and where they travel.
func checkEncryption(t *testing.T, all []resource) {
	t.Helper()
	buckets := len(of(all, "aws_s3_bucket"))
	for _, kind := range []string{"aws_s3_bucket_server_side_encryption_configuration", "aws_s3_bucket_public_access_block", "aws_s3_bucket_policy", "aws_s3_bucket_ownership_controls"} {
		if n := len(of(all, kind)); n != buckets || n != 2 {
			t.Errorf("%d of %s for %d buckets", n, kind, buckets)
		}
	}
	for _, r := range of(all, "aws_s3_bucket_server_side_encryption_configuration") {
		if !strings.Contains(fmt.Sprint(r.Values["rule"]), "aws:kms") {
			t.Errorf("%s: not by KMS", r.Address)
		}
	}
	for _, r := range of(all, "aws_s3_bucket_public_access_block") {
		for _, k := range []string{"block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"} {
			if r.Values[k] != true {
				t.Errorf("%s: %s is off", r.Address, k)
			}
		}
	}
	for _, r := range of(all, "aws_ebs_volume") {
		if r.Values["encrypted"] != true {
			t.Errorf("%s is not encrypted", r.Address)
		}
	}
	for _, r := range of(all, "aws_launch_template") {
		for _, d := range list(r.Values["block_device_mappings"]) {
			for _, e := range list(d["ebs"]) {
				if e["encrypted"] != "true" && e["encrypted"] != true {
					t.Errorf("%s: a disk is not encrypted", r.Address)
				}
			}
		}
		if !strings.Contains(fmt.Sprint(r.Values["metadata_options"]), "http_tokens:required") {
			t.Errorf("%s: instance metadata without tokens", r.Address)
		}
	}
	for _, r := range of(all, "aws_lb_listener") {
		switch p := r.Values["protocol"]; p {
		case "TLS", "HTTPS":
			if r.Values["ssl_policy"] == nil {
				t.Errorf("%s has no TLS policy", r.Address)
			}
		case "TCP", "UDP": // RTMP is in the clear by nature; SRT has its own passphrase
		default:
			t.Errorf("%s speaks %v", r.Address, p)
		}
	}
	for _, r := range of(all, "aws_cloudfront_distribution") {
		for _, b := range slices.Concat(list(r.Values["default_cache_behavior"]), list(r.Values["ordered_cache_behavior"])) {
			if b["viewer_protocol_policy"] != "redirect-to-https" {
				t.Errorf("%s: viewers may come without TLS", r.Address)
			}
		}
	}
	for _, r := range of(all, "aws_cloudfront_vpc_origin") {
		if !strings.Contains(fmt.Sprint(r.Values), "https-only") {
			t.Errorf("%s: not by HTTPS", r.Address)
		}
	}
	for _, r := range of(all, "aws_cloudwatch_log_group") {
		if r.Values["retention_in_days"] == nil {
			t.Errorf("%s is kept for ever", r.Address)
		}
	}
}

// checkHealth wants every health check to ask /readyz of the public HTTP listener, and ports
// to be the program's defaults.
func checkHealth(t *testing.T, all []resource) {
	t.Helper()
	c := config.Default()
	http, rtmp := port(t, c.HTTP.Listen), port(t, c.RTMP.Listen)
	groups := of(all, "aws_lb_target_group")
	if len(groups) < 4 {
		t.Errorf("%d target groups only", len(groups))
	}
	for _, g := range groups {
		for _, h := range list(g.Values["health_check"]) {
			if h["path"] != "/readyz" || h["port"] != nil && h["port"] != http {
				t.Errorf("%s asks %v of port %v; the program has /readyz on %s", g.Address, h["path"], h["port"], http)
			}
		}
		want := map[string]string{"TCP": rtmp, "HTTP": http, "UDP": port(t, c.SRT.Listen)}[fmt.Sprint(g.Values["protocol"])]
		if got := fmt.Sprint(g.Values["port"]); got != want {
			t.Errorf("%s leads to port %s, want %s", g.Address, got, want)
		}
	}
	rules := map[string]string{"rule.clients[": port(t, c.Bus.Listen), "rule.internal[": port(t, c.Internal.Listen), "rule.webrtc[": port(t, c.WebRTC.Listen)}
	for _, r := range of(all, "aws_vpc_security_group_ingress_rule") {
		for name, want := range rules {
			if got := fmt.Sprint(r.Values["from_port"]); strings.Contains(r.Address, name) && got != want {
				t.Errorf("%s opens port %s; the program's is %s", r.Address, got, want)
			}
		}
	}
}

func port(t *testing.T, listen string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(listen)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkTasks wants tasks in private subnets, gateways aside, and a client's address kept.
func checkTasks(t *testing.T, all []resource) {
	t.Helper()
	for _, s := range of(all, "aws_ecs_service") {
		for _, n := range list(s.Values["network_configuration"]) {
			if public := n["assign_public_ip"] == true; public != (s.Values["name"] == "gateway") {
				t.Errorf("%s: a public address is %v", s.Address, public)
			}
		}
	}
	for _, g := range of(all, "aws_lb_target_group") {
		if p := g.Values["protocol"]; (p == "TCP" || p == "UDP") && g.Values["preserve_client_ip"] != "true" && g.Values["preserve_client_ip"] != true {
			t.Errorf("%s hides the encoder's address", g.Address)
		}
	}
}

// checkOutage wants a bus that is away for minutes to end no encoder: ECS ends a task that its load
// balancer calls unhealthy, and a network load balancer cuts the connections of one.
func checkOutage(t *testing.T, all []resource) {
	t.Helper()
	for _, g := range of(all, "aws_lb_target_group") {
		least := 300.0
		if strings.HasPrefix(g.Address, "module.klive.module.origin.") {
			least = 100 // origins hold nothing
		}
		for _, h := range list(g.Values["health_check"]) {
			interval, _ := h["interval"].(float64)
			threshold, _ := h["unhealthy_threshold"].(float64)
			if interval*threshold < least {
				t.Errorf("%s: ECS ends its tasks after %v s without readiness, want %v at least", g.Address, interval*threshold, least)
			}
		}
		if g.Values["protocol"] == "TCP" {
			states := list(g.Values["target_health_state"])
			if len(states) != 1 || states[0]["enable_unhealthy_connection_termination"] != false {
				t.Errorf("%s cuts the encoders of a gateway that takes no others off", g.Address)
			}
		}
		if g.Values["protocol"] == "UDP" && g.Values["connection_termination"] != true {
			t.Errorf("%s leads callers to a gateway that is gone", g.Address)
		}
	}
}

// checkDestroy wants a destroy to keep what was recorded, and not to stop at what klive and AWS
// made by themselves.
func checkDestroy(t *testing.T, all []resource) {
	t.Helper()
	for _, b := range of(all, "aws_s3_bucket") {
		if b.Values["force_destroy"] != false {
			t.Errorf("%s is removed with all that it holds", b.Address)
		}
	}
	if n := len(of(all, "terraform_data")); n != 1 {
		t.Errorf("%d guards of the recordings, want 1", n)
	}
	for _, z := range of(all, "aws_route53_zone") {
		if z.Values["force_destroy"] != true {
			t.Errorf("%s stays because of the names that the nodes have entered", z.Address)
		}
	}
	for _, g := range of(all, "aws_autoscaling_group") {
		if g.Values["protect_from_scale_in"] == true && g.Values["force_delete"] != true {
			t.Errorf("%s stays because of its protected instances", g.Address)
		}
	}
	for _, s := range of(all, "aws_ecs_service") {
		if s.Values["name"] == "gateway" && s.Values["force_delete"] != true {
			t.Errorf("%s stays because of protected tasks", s.Address)
		}
	}
	insights := false
	for _, g := range of(all, "aws_cloudwatch_log_group") {
		insights = insights || g.Values["name"] == "/aws/ecs/containerinsights/acme-live/performance"
	}
	if !insights {
		t.Error("ECS makes a log group that nobody removes")
	}
}

// TestSettings wants every setting of a task to be one that the program has.
func TestSettings(t *testing.T) {
	known := map[string]bool{}
	for _, k := range config.Keys() {
		known[config.EnvName(k.Path)] = true
	}
	name := regexp.MustCompile(`\bKLIVE_[A-Z0-9_]+\b`)
	n := 0
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".tf" && filepath.Ext(path) != ".tftpl" {
			return err
		}
		text, err := os.ReadFile(path)
		for _, v := range name.FindAllString(string(text), -1) {
			n++
			prefix := strings.HasSuffix(v, "_") && slices.ContainsFunc(slices.Collect(maps.Keys(known)), func(k string) bool { return strings.HasPrefix(k, v) })
			if !known[v] && !prefix {
				t.Errorf("%s: klive has no setting %s", path, v)
			}
		}
		return err
	})
	if err != nil || n < 20 {
		t.Errorf("%d settings, %v", n, err)
	}
}

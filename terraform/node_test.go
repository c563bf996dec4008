package terraform

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// nodeValues are what the bus module gives the template.
var nodeValues = map[string]string{
	"region": "eu-west-1", "volumes": "[eu-west-1a]=vol-0aaa [eu-west-1b]=vol-0bbb", "domain": "acme.internal", "hosted_zone": "Z1",
	"secret": "arn:secret", "tls_secret": "arn:tls", "image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/klive:1", "log_group": "/acme/bus",
	"port": "4222", "cluster_port": "6222", "routes": "nats://bus-eu-west-1a.acme.internal:6222", "memory_mib": "8192", "namespace": "klive/acme", "group": "acme-bus",
}

// nodeScript is the start script of a bus node as Terraform renders it.
func nodeScript(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("modules/bus/node.sh.tftpl")
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`\$?\$\{([^}]*)\}`)
	return form.ReplaceAllStringFunc(string(text), func(m string) string {
		if strings.HasPrefix(m, "$$") {
			return m[1:]
		}
		v, ok := nodeValues[m[2:len(m)-1]]
		if !ok {
			t.Fatalf("the template uses %s, which the test does not know", m)
		}
		return v
	})
}

// The module gives the template the values that it uses, and no others.
func TestNodeScriptValues(t *testing.T) {
	text, err := os.ReadFile("modules/bus/main.tf")
	if err != nil {
		t.Fatal(err)
	}
	_, call, _ := strings.Cut(string(text), "templatefile(")
	call, _, _ = strings.Cut(call, "}))")
	var given []string
	for _, m := range regexp.MustCompile(`(?m)^ {4}([a-z_]+) += `).FindAllStringSubmatch(call, -1) {
		given = append(given, m[1])
	}
	var known []string
	for k := range nodeValues {
		known = append(known, k)
	}
	slices.Sort(given)
	slices.Sort(known)
	if !slices.Equal(given, known) {
		t.Errorf("the module gives %v, the template takes %v", given, known)
	}
	nodeScript(t)
}

// The scripts are read by the shells that run them, and by shellcheck where there is one.
func TestScripts(t *testing.T) {
	node := filepath.Join(t.TempDir(), "node.sh")
	if err := os.WriteFile(node, []byte(nodeScript(t)), 0o700); err != nil {
		t.Fatal(err)
	}
	scripts := []string{node, "../infra/images/ffmpeg.sh", "../infra/images/build"}
	for _, path := range scripts {
		if out, err := exec.CommandContext(t.Context(), "bash", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("bash -n %s: %v\n%s", path, err, out)
		}
	}
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Skip("SKIP: there is no shellcheck in the PATH")
	}
	for _, path := range scripts {
		if out, err := exec.CommandContext(t.Context(), "shellcheck", path).CombinedOutput(); err != nil {
			t.Errorf("shellcheck %s: %v\n%s", path, err, out)
		}
	}
}

// host stands for an EC2 instance: its tools are scripts that write down how they were called.
type host struct {
	t              *testing.T
	dir, bin, file string
}

// The tools answer as they do on an instance; FAIL names one that does not, DIR is the host's root.
const tools = `#!/bin/bash
name=${0##*/}
echo "$name $*" >>"$DIR/calls"
[[ " $FAIL " != *" $name "* && " $FAIL " != *" $name-$1-$2 "* ]] || { echo "$name is broken" >&2; exit 1; }
case "$name $*" in
*latest/api/token) echo token ;;
*meta-data/instance-id) echo i-1 ;;
*meta-data/placement/availability-zone) echo eu-west-1b ;;
*meta-data/local-ipv4) echo 10.0.0.7 ;;
"aws ec2 attach-volume"*) mkdir -p "$DIR/dev/disk/by-id"; touch "$DIR/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0bbb" ;;
*"--secret-id arn:tls"*) echo '{"ca": "CA\nPEM", "cert": "CERT", "key": "KEY"}' ;;
*"--secret-id arn:secret"*) echo '{"busPassword": "pass word", "kaltura": "not for a node"}' ;;
blkid*) [ -e "$DIR/formatted" ] ;;
mkfs.xfs*) touch "$DIR/formatted" ;;
mountpoint*) [ -e "$DIR/mounted" ] ;;
mount\ *) touch "$DIR/mounted" ;;
docker\ login*) cat >/dev/null ;;
esac
`

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir()}
	h.bin = filepath.Join(h.dir, "bin")
	for _, d := range []string{h.bin, h.dir + "/var/log", h.dir + "/run"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range strings.Fields("curl aws docker dnf systemctl blkid mkfs.xfs mountpoint mount chown sleep") {
		if err := os.WriteFile(filepath.Join(h.bin, name), []byte(tools), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.file = filepath.Join(h.dir, "part-001")
	text := strings.NewReplacer("/var/lib/", h.dir+"/var/lib/", "/var/log/", h.dir+"/var/log/", "/run/klive", h.dir+"/run/klive", "/dev/disk/", h.dir+"/dev/disk/", "$(seq 30)", "1 2").Replace(nodeScript(t))
	if err := os.WriteFile(h.file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return h
}

// boot runs the script and returns the calls that it made.
func (h *host) boot(file, fail string) (calls string, err error) {
	h.t.Helper()
	os.Remove(h.dir + "/calls")
	cmd := exec.CommandContext(h.t.Context(), "bash", file)
	cmd.Env = []string{"PATH=" + h.bin + ":" + os.Getenv("PATH"), "DIR=" + h.dir, "FAIL=" + fail}
	out, err := cmd.CombinedOutput()
	text, readErr := os.ReadFile(h.dir + "/calls")
	if readErr != nil {
		h.t.Fatalf("no calls: %v\n%s", readErr, out)
	}
	return strings.ReplaceAll(string(text), h.dir, ""), err
}

// wantCalls wants calls in this order, among others.
func wantCalls(t *testing.T, calls string, want ...string) {
	t.Helper()
	rest := calls
	for _, w := range want {
		_, after, ok := strings.Cut(rest, w)
		if !ok {
			t.Fatalf("no call of %q, or not in this order:\n%s", w, calls)
		}
		rest = after
	}
}

func TestNodeStarts(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("SKIP: there is no python3 in the PATH")
	}
	h := newHost(t)
	calls, err := h.boot(h.file, "")
	if err != nil {
		t.Fatalf("%v\n%s", err, calls)
	}
	wantCalls(t, calls, "dnf install", "aws ec2 attach-volume --volume-id vol-0bbb --instance-id i-1", "mkfs.xfs /dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0bbb",
		"mount /dev/disk", "chown 65532:65532 /var/lib/klive", "bus-eu-west-1b.acme.internal", "10.0.0.7", "docker login", "docker pull", "docker rm -f klive",
		"docker run -d --name klive", "KLIVE_BUS_CLUSTER_NODE=bus-eu-west-1b.acme.internal", "docker exec klive /klive health", "--lifecycle-action-result CONTINUE")
	for file, want := range map[string]string{"ca.pem": "CA\nPEM", "cert.pem": "CERT", "key.pem": "KEY", "password": "pass word"} {
		if got, err := os.ReadFile(h.dir + "/run/klive/" + file); err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", file, got, err, want)
		}
	}
	if info, err := os.Stat(h.dir + "/run/klive/key.pem"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key may be read by others: %v", info.Mode())
	}
	if strings.Contains(calls, "pass word") || strings.Contains(calls, "KEY\n") {
		t.Error("a secret stands in a command line")
	}

	// The instance starts again: the volume is there and holds records, /run is empty.
	os.Remove(h.dir + "/mounted")
	os.RemoveAll(h.dir + "/run/klive")
	calls, err = h.boot(h.dir+"/var/lib/cloud/scripts/per-boot/klive-bus", "")
	if err != nil {
		t.Fatalf("%v\n%s", err, calls)
	}
	wantCalls(t, calls, "mount /dev/disk", "docker rm -f klive", "docker run -d --name klive")
	for _, not := range []string{"attach-volume", "mkfs"} {
		if strings.Contains(calls, not) {
			t.Errorf("a second start calls %s:\n%s", not, calls)
		}
	}
	if _, err := os.Stat(h.dir + "/run/klive/password"); err != nil {
		t.Error(err)
	}
}

// What fails is told to the log and to the scaling group; a waiting group would wait for twenty
// minutes.
func TestNodeFails(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("SKIP: there is no python3 in the PATH")
	}
	for _, fail := range []string{"dnf", "aws-ec2-attach-volume", "aws-secretsmanager-get-secret-value", "mkfs.xfs", "mount", "docker"} {
		t.Run(fail, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			calls, err := h.boot(h.file, fail)
			if err == nil {
				t.Fatalf("it goes on without %s:\n%s", fail, calls)
			}
			wantCalls(t, calls, "aws logs put-log-events", "failed", "--lifecycle-action-result ABANDON")
			if strings.Contains(calls, "CONTINUE") || fail != "docker" && strings.Contains(calls, "docker run") {
				t.Errorf("it goes on without %s:\n%s", fail, calls)
			}
			if n := strings.Count(calls, "ABANDON"); n != 1 {
				t.Errorf("it gives up %d times", n)
			}
		})
	}
	// Nobody waits for a node at a later start; that is no failure.
	h := newHost(t)
	if calls, err := h.boot(h.file, "aws-autoscaling-complete-lifecycle-action"); err != nil {
		t.Errorf("%v\n%s", err, calls)
	}
}

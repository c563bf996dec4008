package terraform

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// deployBlock is the shell code in the README's "On AWS" that holds a text.
func deployBlock(t *testing.T, holds string) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, aws, ok := strings.Cut(string(text), "### On AWS\n")
	aws, _, _ = strings.Cut(aws, "\n## ")
	if !ok {
		t.Fatal(`README.md has no chapter "On AWS"`)
	}
	for _, m := range regexp.MustCompile("(?s)\n   ```\n(.*?)\n   ```").FindAllStringSubmatch(aws, -1) {
		if strings.Contains(m[1], holds) {
			return strings.ReplaceAll(m[1], "\n   ", "\n")
		}
	}
	t.Fatalf("README.md has no commands with %q for AWS", holds)
	return ""
}

// TestDeploySecrets runs the README's commands for the secrets, with an aws that keeps what it is
// given, and looks at what they made: keys that the modules name, and a certificate that the bus's
// nodes can use.
func TestDeploySecrets(t *testing.T) {
	for _, tool := range []string{"openssl", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIP: there is no %s in the PATH", tool)
		}
	}
	dir, scratch := t.TempDir(), t.TempDir()
	keep := "#!/bin/sh\nfor a; do case $a in file://*) cp \"${a#file://}\" \"$KEPT/${a#file://}\" ;; esac; done\necho arn\n[ \"$1\" != \"$FAIL\" ]\n"
	if err := os.WriteFile(filepath.Join(dir, "aws"), []byte(keep), 0o755); err != nil {
		t.Fatal(err)
	}
	// What the commands make is gone when they end, whether AWS takes it or not.
	follow := func(fail string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", deployBlock(t, "create-secret"))
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"), "KEPT="+dir, "TMPDIR="+scratch, "FAIL="+fail)
		cmd.Stdin = strings.NewReader("the partner's secret\n")
		out, err := cmd.CombinedOutput()
		for _, d := range []string{scratch, cmd.Dir} {
			if left, err := os.ReadDir(d); err != nil || len(left) > 0 {
				t.Errorf("%v stay behind in %s (%v)", left, d, err)
			}
		}
		return out, err
	}
	for _, fail := range []string{"sts", "secretsmanager"} {
		if out, err := follow(fail); err == nil {
			t.Errorf("they go on when aws %s fails:\n%s", fail, out)
		}
	}
	if out, err := follow("nothing"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var bus, klive map[string]string
	for name, into := range map[string]*map[string]string{"bus": &bus, "klive": &klive} {
		text, err := os.ReadFile(filepath.Join(dir, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	if klive["kaltura"] != "the partner's secret" {
		t.Errorf("the partner's secret is %q", klive["kaltura"])
	}
	for _, k := range []string{"cluster", "adminToken", "busPassword"} {
		if len(klive[k]) < 16 {
			t.Errorf("%s is %q: want 16 characters or more", k, klive[k])
		}
	}
	roots := x509.NewCertPool()
	block, _ := pem.Decode([]byte(bus["cert"]))
	if !roots.AppendCertsFromPEM([]byte(bus["ca"])) || block == nil || bus["key"] == "" {
		t.Fatalf("the bus's secret holds %v", bus)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: "bus-eu-west-1a.acme-live.internal", KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
			t.Error(err)
		}
	}
}

// TestDeployImages runs the README's commands for the images, with an aws and a docker that write down
// how they are called, and wants what they build to be there and to reach the account's registry.
func TestDeployImages(t *testing.T) {
	dir := t.TempDir()
	const tools = `#!/bin/sh
echo "${0##*/} $*" >>"$DIR/calls"
case "${0##*/} $1 $2" in
*"$FAIL"*) exit 1 ;;
*"aws sts"*) echo 123456789012 ;;
*get-login-password*) echo password ;;
*"docker login"*) [ "$(cat)" = password ] ;;
esac
`
	for _, name := range []string{"aws", "docker"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(tools), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	follow := func(fail string) (string, error) {
		os.Remove(filepath.Join(dir, "calls"))
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", deployBlock(t, "docker buildx"))
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"), "DIR="+dir, "AWS_REGION=eu-west-1", "FAIL="+fail)
		out, err := cmd.CombinedOutput()
		calls, readErr := os.ReadFile(filepath.Join(dir, "calls"))
		if readErr != nil {
			t.Fatalf("no calls: %v\n%s", readErr, out)
		}
		return string(calls), err
	}
	for _, fail := range []string{"aws sts", "docker login"} {
		if calls, err := follow(fail); err == nil || strings.Contains(calls, "docker buildx") {
			t.Errorf("they go on when %s fails:\n%s", fail, calls)
		}
	}
	// A repository is made when there is none, so that the commands can be repeated.
	for fail, makes := range map[string]int{"nothing": 0, "describe-repositories": 2} {
		calls, err := follow(fail)
		if err != nil || strings.Count(calls, "aws ecr create-repository") != makes {
			t.Errorf("%s fails, and they make %d repositories, want %d (%v):\n%s", fail, strings.Count(calls, "aws ecr create-repository"), makes, err, calls)
		}
		built := regexp.MustCompile(`docker buildx build .*-f (\S+) --target (\S+) .*-t (\S+)/klive-(\S+):\S+ --push \.`).FindAllStringSubmatch(calls, -1)
		if len(built) != 2 {
			t.Fatalf("they build %d images, want 2:\n%s", len(built), calls)
		}
		for _, b := range built {
			dockerfile, err := os.ReadFile(filepath.Join("..", b[1]))
			if err != nil || !strings.Contains(string(dockerfile), " AS "+b[2]+"\n") {
				t.Errorf("%s has no target %s (%v)", b[1], b[2], err)
			}
			if b[3] != "123456789012.dkr.ecr.eu-west-1.amazonaws.com" || b[4] != b[2] {
				t.Errorf("%s is pushed to %s/klive-%s", b[2], b[3], b[4])
			}
		}
	}
}

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
	dir := t.TempDir()
	keep := "#!/bin/sh\nfor a; do case $a in file://*) cp \"${a#file://}\" \"kept-${a#file://}\" ;; esac; done\necho arn\n"
	if err := os.WriteFile(filepath.Join(dir, "aws"), []byte(keep), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", deployBlock(t, "create-secret"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.Stdin = strings.NewReader("the partner's secret\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var bus, klive map[string]string
	for name, into := range map[string]*map[string]string{"bus": &bus, "klive": &klive} {
		text, err := os.ReadFile(filepath.Join(dir, "kept-"+name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{name + ".json", "ca.key", "key.pem"} {
			if _, err := os.Stat(filepath.Join(dir, secret)); err == nil {
				t.Errorf("%s stays behind", secret)
			}
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

// TestDeployImages wants the commands that build images to name what there is.
func TestDeployImages(t *testing.T) {
	commands := deployBlock(t, "docker buildx")
	if out, err := exec.CommandContext(t.Context(), "bash", "-nc", commands).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dockerfile, err := os.ReadFile("../infra/images/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile(`for target in ([a-z ]+);`).FindStringSubmatch(commands)
	if targets == nil {
		t.Fatal("the commands name no targets")
	}
	for _, target := range strings.Fields(targets[1]) {
		if !strings.Contains(string(dockerfile), "FROM scratch AS "+target+"\n") {
			t.Errorf("the Dockerfile has no target %s", target)
		}
	}
	for _, name := range []string{"infra/images/Dockerfile", "VERSION"} {
		if !strings.Contains(commands, name) {
			t.Errorf("the commands don't name %s", name)
		}
	}
}

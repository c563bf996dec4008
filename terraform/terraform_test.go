package terraform

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var examples = []string{"minimal", "complete", "gpu"}

// workspace is a copy of this folder in which terraform has been initialised; the test is
// skipped by name where terraform or its provider can't be had.
func workspace(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("SKIP: there is no terraform in the PATH")
	}
	dir := filepath.Join(t.TempDir(), "terraform")
	if err := os.CopyFS(dir, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{".terraform", ".terraform.lock.hcl"} {
		os.RemoveAll(filepath.Join(dir, state))
		for _, e := range examples {
			os.RemoveAll(filepath.Join(dir, "examples", e, state))
		}
	}
	if out, err := run(t, dir, "init", "-backend=false"); err != nil {
		if bytes.Contains(out, []byte("registry.terraform.io")) {
			t.Skipf("SKIP: the provider hashicorp/aws can't be had: neither a mirror nor the registry has it\n%s", out)
		}
		t.Fatalf("init: %v\n%s", err, out)
	}
	return dir
}

// run runs terraform without credentials.
func run(t *testing.T, dir string, args ...string) ([]byte, error) {
	t.Helper()
	return runWith(t, dir, nil, args...)
}

// runWith is the same with more in the environment.
func runWith(t *testing.T, dir string, env []string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "terraform", append([]string{"-chdir=" + dir}, args...)...)
	cmd.Env = append(os.Environ(), "TF_IN_AUTOMATION=1", "TF_INPUT=0", "NO_COLOR=1", "AWS_EC2_METADATA_DISABLED=true")
	cmd.Env = append(cmd.Env, env...)
	return cmd.CombinedOutput()
}

func TestFormat(t *testing.T) {
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("SKIP: there is no terraform in the PATH")
	}
	if out, err := run(t, ".", "fmt", "-check", "-recursive", "-diff"); err != nil {
		t.Errorf("terraform fmt wants changes: %v\n%s", err, out)
	}
}

// TestLint runs tflint over the root, the modules and the examples.
func TestLint(t *testing.T) {
	tflint, err := filepath.Abs("../.tools/bin/tflint")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tflint); err != nil { // one in the PATH may have other rules
		t.Skip("SKIP: there is no tflint in .tools/bin; make .tools/bin/tflint")
	}
	config, err := filepath.Abs(".tflint.hcl")
	if err != nil {
		t.Fatal(err)
	}
	lint := func(dir string) (string, error) {
		out, err := exec.CommandContext(t.Context(), tflint, "--recursive", "--no-color", "--format=compact", "--chdir="+dir, "--config="+config).CombinedOutput()
		return string(out), err
	}
	if out, err := lint("."); err != nil {
		t.Errorf("tflint: %v\n%s", err, out)
	}
	// It has rules, and goes into folders.
	dir := t.TempDir()
	module := filepath.Join(dir, "modules", "one")
	if err := os.MkdirAll(module, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(module, "main.tf"), []byte("locals {\n  unused = 1\n}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := lint(dir); err == nil || !strings.Contains(out, "terraform_unused_declarations") {
		t.Errorf("tflint overlooks a local that nobody uses (%v):\n%s", err, out)
	}
}

// TestTerraform validates the root and runs tests/*.tftest.hcl.
func TestTerraform(t *testing.T) {
	dir := workspace(t)
	if out, err := run(t, dir, "validate", "-no-color"); err != nil {
		t.Fatalf("validate: %v\n%s", err, out)
	}
	files, err := filepath.Glob("tests/*.tftest.hcl")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files of tests, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			out, err := run(t, dir, "test", "-no-color", "-filter="+file)
			if err != nil {
				t.Fatalf("test: %v\n%s", err, out)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			t.Log(lines[len(lines)-1])
		})
	}
}

// TestRewrite runs the CloudFront function in Node.js.
func TestRewrite(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("SKIP: there is no node in the PATH")
	}
	out, err := exec.CommandContext(t.Context(), "node", "modules/cdn/rewrite.test.js").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Log(strings.TrimSpace(string(out)))
}

package terraform

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDestroyKeepsBuckets makes the guard alone and destroys it, with an aws that answers as the
// real one does.
func TestDestroyKeepsBuckets(t *testing.T) {
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("SKIP: there is no terraform in the PATH")
	}
	for _, c := range []struct{ name, aws, forced, refused string }{
		{"empty", "echo 0", "false", ""},
		{"gone", "echo 'An error occurred (NoSuchBucket) when calling the ListObjectsV2 operation'; exit 254", "false", ""},
		{"recordings", "echo 1", "false", "The bucket acme-recordings is not empty, so nothing is destroyed"},
		{"media alone", "case $* in *recordings*) echo 0 ;; *) echo 1 ;; esac", "false", "The bucket acme-live is not empty"},
		{"forced", "echo 1", "true", ""},
		{"no credentials", "echo 'Unable to locate credentials'; exit 253", "false", "can't be told, so nothing is destroyed: Unable to locate credentials"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS("modules/guard")); err != nil {
				t.Fatal(err)
			}
			aws := "#!/bin/sh\ncase \"$*\" in *\"--bucket acme-recordings --region eu-west-1\"* | *\"--bucket acme-live --region eu-west-1\"*) ;; *) echo \"asked for $*\"; exit 1 ;; esac\n" + c.aws + "\n"
			if err := os.WriteFile(filepath.Join(dir, "aws"), []byte(aws), 0o755); err != nil {
				t.Fatal(err)
			}
			path := dir + string(os.PathListSeparator) + os.Getenv("PATH")
			vars := []string{"-auto-approve", `-var=buckets=["acme-recordings","acme-live"]`, "-var=region=eu-west-1", "-var=forced=" + c.forced}
			for _, args := range [][]string{{"init"}, append([]string{"apply"}, vars...)} {
				if out, err := runWith(t, dir, []string{"PATH=" + path}, args...); err != nil {
					t.Fatalf("%s: %v\n%s", args[0], err, out)
				}
			}
			out, err := runWith(t, dir, []string{"PATH=" + path}, append([]string{"destroy"}, vars...)...)
			switch text := strings.Join(strings.Fields(string(out)), " "); {
			case c.refused == "" && err != nil:
				t.Errorf("%v\n%s", err, out)
			case c.refused != "" && (err == nil || !strings.Contains(text, c.refused)):
				t.Errorf("it is destroyed, or the reason is not %q: %v\n%s", c.refused, err, out)
			}
		})
	}
}

// Nothing is removed before the guard: all that has a price or carries a stream has to be there
// for it.
func TestGuardStandsBeforeAll(t *testing.T) {
	text, err := os.ReadFile("main.tf")
	if err != nil {
		t.Fatal(err)
	}
	_, guard, _ := strings.Cut(string(text), "module \"guard\" {")
	guard, _, _ = strings.Cut(guard, "\n}\n")
	for _, record := range []string{"ingest", "viewer"} {
		if !strings.Contains(guard, "aws_route53_record."+record) {
			t.Errorf("a destroy would remove the name %s before it looks into the buckets", record)
		}
	}
	modules, err := filepath.Glob("modules/*")
	if err != nil || len(modules) < 9 {
		t.Fatalf("%d modules, %v", len(modules), err)
	}
	for _, m := range modules {
		name := filepath.Base(m)
		switch name {
		case "guard", "task": // itself, and a part of others
		case "network", "storage": // the others stand in the one and name the other
			if !strings.Contains(string(text), "module."+name+".") {
				t.Errorf("nothing depends on %s", name)
			}
		default:
			if !strings.Contains(guard, "module."+name) {
				t.Errorf("a destroy would remove %s before it looks into the buckets", name)
			}
		}
	}
}

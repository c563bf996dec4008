package terraform

import (
	"os"
	"regexp"
	"testing"
)

// TestImagesOfRoles wants the roles that run ffmpeg in the image that has it, and the others in the
// smaller one.
func TestImagesOfRoles(t *testing.T) {
	text, err := os.ReadFile("main.tf")
	if err != nil {
		t.Fatal(err)
	}
	for module, want := range map[string]string{"bus": "gateway", "ingest": "gateway", "origin": "worker", "worker": "worker"} {
		block := regexp.MustCompile(`(?s)\nmodule "` + module + `" \{\n(.*?)\n\}\n`).FindSubmatch(text)
		if block == nil {
			t.Errorf("there is no module %s", module)
			continue
		}
		got := regexp.MustCompile(`(?m)^  image +=  *var\.images\.(\w+)`).FindSubmatch(block[1])
		if got == nil || string(got[1]) != want {
			t.Errorf("%s runs in the image %q, want %s", module, got, want)
		}
	}
}

package config

import (
	"os"
	"slices"
	"strings"
)

// secretPrefixes begin the names of variables that hold secrets or lead to them: klive's own, and
// those by which a cloud gives its processes credentials.
var secretPrefixes = []string{EnvPrefix, "AWS_", "ECS_"}

// ChildEnviron is the environment for programs that read what strangers send, as ffmpeg does: this
// process's without what holds secrets or leads to them.
func ChildEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return slices.ContainsFunc(secretPrefixes, func(p string) bool { return strings.HasPrefix(v, p) })
	})
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
)

// version is set at build time by -ldflags "-X main.version=…".
var version = "dev"

type versionCmd struct{}

// Run prints the version, the commit it was built from and the Go release.
func (versionCmd) Run(g *global) error {
	v := versionInfo()
	if g.JSON {
		return printJSON(os.Stdout, v)
	}
	fmt.Printf("klive %s (%s, %s)\n", v.Version, v.Commit, v.Go)
	return nil
}

type versionFacts struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

func versionInfo() versionFacts {
	v := versionFacts{Version: version, Commit: "unknown commit", Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Commit = s.Value
			}
		}
	}
	return v
}

// printJSON is how every command prints for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // addresses are copied out of it
	return enc.Encode(v)
}

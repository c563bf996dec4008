package admin

import (
	"embed"
	"io/fs"
	"net/http"
	"strings"
)

// dist holds the bundle that the build makes from console/src. A binary that was built
// without it says so in the page's place.
//
//go:embed all:console/dist
var dist embed.FS

//go:embed unbuilt.html
var unbuiltPage []byte

func builtConsole() fs.FS {
	sub, err := fs.Sub(dist, "console/dist")
	if err != nil {
		panic("admin: " + err.Error()) // the path is embedded above
	}
	return sub
}

// newConsole serves the page's files.
func newConsole(files fs.FS) http.Handler {
	server := http.FileServerFS(files)
	_, err := fs.Stat(files, "index.html")
	built := err == nil
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		name := strings.TrimPrefix(r.URL.Path, "/")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			problem(w, http.StatusMethodNotAllowed, "pages are only read")
		case name == "" && !built:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(unbuiltPage)
		case name == "":
			server.ServeHTTP(w, r)
		case strings.HasPrefix(name, ".") || !isFile(files, name):
			problem(w, http.StatusNotFound, "no such page; the console is at /")
		default:
			server.ServeHTTP(w, r)
		}
	})
}

func isFile(files fs.FS, name string) bool {
	info, err := fs.Stat(files, name)
	return err == nil && !info.IsDir()
}

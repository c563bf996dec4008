package admin

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// resources are the addresses of the API with the methods that each takes.
type resources struct {
	mux     *http.ServeMux
	methods map[string][]string // by path
}

func newResources(mux *http.ServeMux) *resources {
	return &resources{mux: mux, methods: map[string][]string{}}
}

// handle adds a method of an address.
func (r *resources) handle(method, path string, h http.Handler) {
	r.mux.Handle(method+" "+path, h)
	r.methods[path] = append(r.methods[path], method)
}

// refuseOthers answers all other methods of the addresses that are there. The mux would by
// itself, were there no answer to every path under /v1/.
func (r *resources) refuseOthers() {
	for path, methods := range r.methods {
		allow := strings.Join(methods, ", ")
		r.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", allow)
			problem(w, http.StatusMethodNotAllowed, "this address takes "+allow)
		})
	}
}

// notFound names the addresses that there are in this process.
func (r *resources) notFound(w http.ResponseWriter, _ *http.Request) {
	problem(w, http.StatusNotFound, "no such address on this node; there are "+strings.Join(slices.Sorted(maps.Keys(r.methods)), ", "))
}

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"klive/infra/check/fault"
)

// startNginx runs nginx with one of the configurations that the project ships, until the test
// ends, and returns its address, host:port. values replace ${NAME} in it.
func startNginx(t testing.TB, config string, values map[string]string) string {
	t.Helper()
	path := tool(t, "nginx", "apt-get install nginx-light")
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("..", "images", "nginx", config))
	if err != nil {
		t.Fatal(err)
	}
	listen := fault.Ports(t, 1)[0]
	pairs := []string{"${LISTEN}", listen, "${CACHE}", filepath.Join(dir, "cache")}
	for name, value := range values {
		pairs = append(pairs, "${"+name+"}", value)
	}
	main := "daemon off;\nworker_processes 1;\npid " + dir + "/pid;\nerror_log " + dir + "/error.log warn;\nevents { worker_connections 1024; }\n" +
		"http {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		main += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	if os.Getuid() == 0 {
		main = "user root;\n" + main
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(main+strings.NewReplacer(pairs...).Replace(string(text))+"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	master := fault.Start(t, fault.Spec{
		Name: "nginx", Path: path, Args: []string{"-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", file},
		Ready: listening(listen), Log: filepath.Join(dir, "nginx.log"),
	})
	t.Cleanup(func() { // a master that is killed leaves its workers behind
		if _, err := master.Terminate(20 * time.Second); err != nil {
			t.Errorf("nginx did not end: %v", err)
		}
	})
	return listen
}

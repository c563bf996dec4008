package config

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile bounds the configuration file in bytes; the example, which has every key and
// explains it, fills a third. The YAML parser's time grows with the square of a long one.
const maxFile = 64 << 10

// FileEnv names the configuration file itself. It has the prefix of the keys but is none.
const FileEnv = EnvPrefix + "CONFIG"

// Load reads the file at path (none when path is empty), then the environment env (in
// the form of [os.Environ]) over it, and checks the whole. The error is an [*Error] that
// holds every mistake, or says why the file can't be read.
func Load(path string, env []string) (*Config, []Warning, error) {
	var text []byte
	if path != "" {
		var err error
		if text, err = readFile(path); err != nil {
			return nil, nil, err
		}
	}
	return Parse(path, text, env)
}

// Parse is Load for a file that was read already; name stands for it in errors.
func Parse(name string, text []byte, env []string) (*Config, []Warning, error) {
	l := &loader{
		tree: newTree(), config: Default(), file: name, set: map[string]place{},
	}
	l.yaml(text)
	l.environ(env)
	l.check()
	if err := l.problems.err(); err != nil {
		return nil, l.warnings, err
	}
	return l.config, l.warnings, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("can't read the configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("can't read the configuration: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("the configuration %s is over %d bytes", path, maxFile)
	}
	return text, nil
}

// loader gathers one configuration.
type loader struct {
	tree     *tree
	config   *Config
	file     string
	set      map[string]place // where each key that was set came from
	problems problems
	warnings []Warning
}

// value sets one key from one place.
func (l *loader) value(at place, path, text string) {
	if err := set(l.config, l.tree.keys[path], text); err != nil {
		l.problems.add(at, path, "%v", err)
		return
	}
	l.set[path] = at
}

func (l *loader) environ(env []string) {
	byName := map[string]string{}
	names := make([]string, 0, len(l.tree.paths))
	for _, p := range l.tree.paths {
		name := l.tree.keys[p].Env
		byName[name] = p
		names = append(names, name)
	}
	for _, e := range env {
		name, text, _ := strings.Cut(e, "=")
		if path, ok := byName[name]; ok {
			l.value(place{env: name}, path, text)
			continue
		}
		if old, ok := oldKey(strings.TrimPrefix(name, EnvPrefix)); ok {
			l.problems.add(place{env: name}, old.Name, "%s", old.hint())
			continue
		}
		if !strings.HasPrefix(name, EnvPrefix) || name == FileEnv {
			continue
		}
		w := Warning{Where: name, Text: "no such key; the variable is not used"}
		if near := nearest(name, names); near != "" {
			w.Text += "; did you mean " + near + "?"
		}
		l.warnings = append(l.warnings, w)
	}
}

// Command tables writes the tables of variables and outputs into terraform/README.md, out of
// the Terraform files themselves. Run it in the folder terraform: go run ./tables.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// The marks between which the tables stand.
const (
	begin = "<!-- tables: written by go run ./tables -->\n"
	end   = "<!-- end of tables -->\n"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "tables:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	path := filepath.Join(dir, "README.md")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := render(dir, old)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// render returns the README with its tables as the files have them.
func render(dir string, readme []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(readme, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return nil, fmt.Errorf("README.md lacks the marks %q and %q", begin, end)
	}
	variables, err := blocks(filepath.Join(dir, "variables.tf"), "variable")
	if err != nil {
		return nil, err
	}
	outputs, err := blocks(filepath.Join(dir, "outputs.tf"), "output")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(begin + "\n| variable | type | default | |\n|---|---|---|---|\n")
	for _, v := range variables {
		value := "required"
		if d, has := v.fields["default"]; has {
			value = "`" + d + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", v.name, v.fields["type"], value, v.text())
	}
	b.WriteString("\n| output | |\n|---|---|\n")
	for _, o := range outputs {
		fmt.Fprintf(&b, "| `%s` | %s |\n", o.name, o.text())
	}
	b.WriteString("\n" + end)
	b.Write(after)
	return b.Bytes(), nil
}

// block is a variable or an output.
type block struct {
	name   string
	fields map[string]string
}

// text is the description, as a cell of a table.
func (b block) text() string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(strings.Trim(b.fields["description"], `"`))
}

var (
	head  = regexp.MustCompile(`(?m)^(variable|output) "([^"]+)" \{$`)
	field = regexp.MustCompile(`(?m)^  (type|description|default) += (.+)$`)
)

// blocks reads the blocks of one kind. The files are as terraform fmt leaves them, so a block
// ends at the first closing brace that begins a line.
func blocks(path, kind string) ([]block, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []block
	for _, at := range head.FindAllSubmatchIndex(text, -1) {
		if string(text[at[2]:at[3]]) != kind {
			continue
		}
		body, _, ok := bytes.Cut(text[at[1]:], []byte("\n}\n"))
		if !ok {
			return nil, fmt.Errorf("%s: a block has no end", path)
		}
		b := block{name: string(text[at[4]:at[5]]), fields: map[string]string{}}
		for _, f := range field.FindAllSubmatch(body, -1) {
			b.fields[string(f[1])] = string(f[2])
		}
		if b.fields["description"] == "" {
			return nil, fmt.Errorf("%s: %s %q has no description", path, kind, b.name)
		}
		if kind == "variable" && b.fields["type"] == "" {
			return nil, fmt.Errorf("%s: variable %q has no type", path, b.name)
		}
		out = append(out, b)
	}
	return out, nil
}

package config

import (
	"errors"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// yaml reads the file's text. It walks the syntax tree itself so that every mistake is
// found at once and each has its place.
func (l *loader) yaml(text []byte) {
	if line := tooDeep(text); line > 0 {
		l.problems.add(place{file: l.file, line: line, column: 1}, "", "no YAML: more than %d brackets are open", maxBrackets)
		return
	}
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		l.syntax(err)
		return
	}
	for i, doc := range file.Docs {
		if i > 0 && doc.Body != nil {
			l.problems.add(l.at(doc.Body), "", "a second document; want one")
			return
		}
		switch body := doc.Body.(type) {
		case nil, *ast.NullNode, *ast.CommentGroupNode:
		case *ast.MappingNode:
			l.section("", body)
		default:
			l.problems.add(l.at(body), "", "want keys and values, such as:  log: {level: info}")
		}
	}
}

// maxBrackets is how many brackets may be open at once: the parser's time grows with the
// square of it.
const maxBrackets = 64

// tooDeep returns the line in which too many brackets are open; 0 when there is none.
// Brackets in quotes count like others.
func tooDeep(text []byte) (line int) {
	open, line := 0, 1
	for _, c := range text {
		switch c {
		case '\n':
			line++
		case '[', '{':
			if open++; open > maxBrackets {
				return line
			}
		case ']', '}':
			open = max(0, open-1)
		}
	}
	return 0
}

func (l *loader) syntax(err error) {
	var e yaml.Error
	if !errors.As(err, &e) {
		l.problems.add(place{file: l.file}, "", "no YAML: %v", err)
		return
	}
	text := e.GetMessage()
	if strings.Contains(text, "\t") {
		text = "a tab; indent with spaces"
	}
	l.problems.add(l.where(e.GetToken()), "", "no YAML: %s", text)
}

func (l *loader) at(n ast.Node) place { return l.where(n.GetToken()) }

func (l *loader) where(t *token.Token) place {
	p := place{file: l.file}
	if t != nil && t.Position != nil {
		p.line, p.column = t.Position.Line, t.Position.Column
	}
	return p
}

func (l *loader) section(path string, m *ast.MappingNode) {
	seen := map[string]place{}
	for _, item := range m.Values {
		if l.problems.full() {
			return
		}
		at := l.at(item.Key)
		if _, ok := item.Key.(*ast.StringNode); !ok {
			l.unknown(at, path, item.Key.String())
			continue
		}
		name := item.Key.GetToken().Value
		if first, ok := seen[name]; ok {
			l.problems.add(at, join(path, name), "stands here a second time; the first is in line %d", first.line)
			continue
		}
		seen[name] = at
		if !slices.Contains(l.tree.children[path], name) {
			l.unknown(at, path, name)
			continue
		}
		l.node(at, join(path, name), item.Value)
	}
}

// node reads what stands behind a known key or section.
func (l *loader) node(key place, path string, n ast.Node) {
	if l.tree.isSection(path) {
		switch v := n.(type) {
		case *ast.NullNode: // everything under it is commented out
		case *ast.MappingNode:
			l.section(path, v)
		default:
			l.problems.add(l.at(n), path, "want the keys %s under it", strings.Join(l.tree.children[path], ", "))
		}
		return
	}
	switch v := n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		l.value(l.at(n), path, n.GetToken().Value)
	case *ast.LiteralNode:
		l.value(key, path, strings.TrimRight(v.Value.Value, "\n"))
	case *ast.NullNode:
		l.problems.add(key, path, `has no value; write one, or "" for none`)
	default:
		l.problems.add(l.at(n), path, "want one plain value")
	}
}

// unknown reports a key that does not exist, with what it may have meant.
func (l *loader) unknown(at place, section, name string) {
	name = clip(name)
	path := join(section, name)
	names := l.tree.children[section]
	if old, ok := oldKey(name); ok {
		l.problems.add(at, path, "%s", old.hint())
		return
	}
	if _, ok := l.tree.keys[path]; ok {
		keys := strings.Split(path, ".")
		l.problems.add(at, path, "write it nested:  %s", strings.Join(keys, ": {")+": …"+strings.Repeat("}", len(keys)-1))
		return
	}
	hint := ". "
	if near := nearest(name, names); near != "" {
		hint = "; did you mean " + join(section, near) + "? "
	} else if near := l.elsewhere(name); near != "" {
		hint = "; did you mean " + near + "? "
	}
	where := "under " + section
	if section == "" {
		where = "at the top"
	}
	l.problems.add(at, path, "unknown key%sValid %s: %s", hint, where, strings.Join(names, ", "))
}

// elsewhere finds a key of another section whose last name is the given one.
func (l *loader) elsewhere(name string) string {
	for _, p := range l.tree.paths {
		if strings.HasSuffix(p, "."+name) {
			return p
		}
	}
	return ""
}

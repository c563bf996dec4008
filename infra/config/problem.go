package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// place is where a value came from: a position in the file, or an environment variable.
type place struct {
	file         string
	line, column int
	env          string
}

func (p place) String() string {
	switch {
	case p.env != "":
		return p.env
	case p.line > 0:
		return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column)
	default:
		return p.file
	}
}

// Problem is one mistake in the configuration.
type Problem struct {
	// Where is "klive.yaml:12:3", the name of an environment variable, or empty for a default
	// value that does not go with the values that were set.
	Where string
	// Key is the full name of the key; empty when the mistake is none of a key's.
	Key string
	// Text says what is wrong and what would be right.
	Text string

	at place
}

func (p Problem) String() string {
	parts := make([]string, 0, 3)
	for _, s := range []string{p.Where, p.Key, p.Text} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// Error is every mistake of a configuration, in the order of the file, the environment
// after it.
type Error struct {
	Problems []Problem
}

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Warning is something in the configuration that klive does without.
type Warning struct {
	Where string
	Text  string
}

func (w Warning) String() string { return w.Where + ": " + w.Text }

// maxProblems bounds the mistakes that are gathered: a file with more is no configuration.
const maxProblems = 100

// problems collects mistakes.
type problems struct {
	list []Problem
}

func (p *problems) full() bool { return len(p.list) >= maxProblems }

func (p *problems) add(at place, key, format string, args ...any) {
	p.list = append(p.list, Problem{
		Where: at.String(), Key: key, Text: fmt.Sprintf(format, args...), at: at,
	})
}

func (p *problems) has(key string) bool {
	return slices.ContainsFunc(p.list, func(x Problem) bool { return x.Key == key })
}

func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(rank(a.at), rank(b.at)),
			cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.at.column, b.at.column))
	})
	if p.full() {
		p.list = append(p.list, Problem{Text: "there may be more mistakes; these come first"})
	}
	return &Error{Problems: p.list}
}

func rank(p place) int {
	switch {
	case p.line > 0:
		return 0
	case p.env != "":
		return 1
	default:
		return 2
	}
}

package check

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// NodeSpec is one process of the service.
type NodeSpec struct {
	Name  string
	Roles []string
	// Start is when it starts.
	Start time.Duration
}

// nodeRoles are what a process can do.
var nodeRoles = []string{"gateway", "worker", "origin", "control"}

// node reads "node W1 worker,origin start=20s".
func (p *parser) node() error {
	name, err := p.take("the node's name")
	if err != nil {
		return err
	}
	if p.scenario.Node(name) != nil {
		return p.fail("there are two nodes %q", name)
	}
	roles, err := p.take("its roles")
	if err != nil {
		return err
	}
	n := NodeSpec{Name: name, Roles: strings.Split(roles, ",")}
	for _, r := range n.Roles {
		if !slices.Contains(nodeRoles, r) {
			return p.fail("a node's roles are of %s, not %q", strings.Join(nodeRoles, ", "), r)
		}
	}
	if len(p.words) > 0 {
		option, _ := p.take("")
		value, ok := strings.CutPrefix(option, "start=")
		if !ok || !length(&n.Start, value) {
			return p.fail("a node has the option start=<time>, not %q", option)
		}
	}
	p.scenario.Nodes = append(p.scenario.Nodes, n)
	return nil
}

// Node returns the node of a name; nil when there is none.
func (s *Scenario) Node(name string) *NodeSpec {
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return &s.Nodes[i]
		}
	}
	return nil
}

// With returns the first node that has a role; nil when none has.
func (s *Scenario) With(role string) *NodeSpec {
	for i := range s.Nodes {
		if slices.Contains(s.Nodes[i].Roles, role) {
			return &s.Nodes[i]
		}
	}
	return nil
}

// happenings are the events of the service itself, and what they take: n a node, a the API,
// d a length, c an action, e an error code, i an operator's choice of index.
var happenings = map[string]string{"kill": "n", "end": "n", "away": "ad", "refuse": "ace", "pin": "i"}

var (
	actionForm = regexp.MustCompile(`^[A-Za-z]{1,64}$`)
	codeForm   = regexp.MustCompile(`^[A-Z_]{1,64}$`)
)

func (p *parser) happening(e *Event) (err error) {
	for _, kind := range happenings[e.Verb] {
		switch kind {
		case 'n':
			if e.Node, err = p.take("a node"); err == nil && p.scenario.Node(e.Node) == nil {
				err = p.fail("there is no node %q above this line", e.Node)
			}
		case 'a':
			var api string
			if api, err = p.take("api"); err == nil && api != "api" {
				err = p.fail("%s is about api, not %q", e.Verb, api)
			}
		case 'd':
			err = p.argument(e, 'd')
		case 'i':
			if e.Index, err = p.take("primary, backup or auto"); err == nil && !slices.Contains([]string{"primary", "backup", "auto"}, e.Index) {
				err = p.fail("an operator chooses primary, backup or auto, not %q", e.Index)
			}
		case 'c':
			if e.Action, err = p.take("an action of the API"); err == nil && !actionForm.MatchString(e.Action) {
				err = p.fail("%q is no action", e.Action)
			}
		case 'e':
			if e.Code, err = p.take("an error code"); err == nil && !codeForm.MatchString(e.Code) {
				err = p.fail("%q is no error code", e.Code)
			}
		}
		if err != nil {
			return err
		}
	}
	p.scenario.Events = append(p.scenario.Events, *e)
	return nil
}

// place makes sure that every encoder has a gateway.
func (p *parser) place() error {
	s := p.scenario
	for i := range s.Encoders {
		e := &s.Encoders[i]
		if len(s.Nodes) > 0 && e.Node == "" {
			if first := s.With("gateway"); first != nil {
				e.Node = first.Name
			}
		}
		n := s.Node(e.Node)
		if len(s.Nodes) > 0 && (n == nil || !slices.Contains(n.Roles, "gateway")) || len(s.Nodes) == 0 && e.Node != "" {
			return p.fail("encoder %s: there is no gateway %q", e.Name, e.Node)
		}
	}
	for _, role := range nodeRoles {
		if len(s.Nodes) > 0 && s.With(role) == nil {
			return p.fail("no node is a %s", role)
		}
	}
	return nil
}

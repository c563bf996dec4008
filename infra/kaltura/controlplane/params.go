package controlplane

import (
	"errors"
	"strings"

	"klive/infra/kaltura"
)

// errTooMany says that a request has more or deeper parameters than the limits allow.
var errTooMany = errors.New("the request has too many parameters or nests them too deep")

// tree gathers the parameters of a request from all their sources. Later calls of set
// win over earlier ones (contract §1.2).
type tree struct {
	limits   Limits
	used     int
	children map[string]*branch
	order    []string
}

// branch is a value or a structure of further branches.
type branch struct {
	leaf     *kaltura.Node
	children map[string]*branch
	order    []string
}

func newTree(l Limits) *tree {
	return &tree{limits: l, children: map[string]*branch{}}
}

// setText sets a parameter of the form or query notation: colons or brackets nest, a
// segment "-" makes an empty structure, a name ending in __null a null (contract §1.3).
func (t *tree) setText(key, value string) error {
	path := splitKey(key)
	last := len(path) - 1
	if name, ok := strings.CutSuffix(path[last], "__null"); ok && name != "" {
		path[last] = name
		return t.set(path, kaltura.Node{})
	}
	for i, name := range path {
		if name == "-" && i > 0 {
			return t.set(path[:i], kaltura.Node{Kind: kaltura.KindObject})
		}
	}
	return t.set(path, kaltura.TextNode(value))
}

// splitKey splits a:b:c and a[b][c] alike.
func splitKey(key string) []string {
	if strings.HasSuffix(key, "]") {
		key = strings.NewReplacer("][", ":", "[", ":", "]", "").Replace(key)
	}
	return strings.Split(key, ":")
}

func (t *tree) set(path []string, value kaltura.Node) error {
	t.used++
	if t.used > t.limits.Parameters || len(path) > t.limits.Depth {
		return errTooMany
	}
	root := &branch{children: t.children, order: t.order}
	b := root
	for _, name := range path {
		b = b.child(name)
	}
	t.order = root.order
	b.leaf, b.children, b.order = &value, nil, nil
	return nil
}

func (b *branch) child(name string) *branch {
	if b.children == nil {
		b.open()
	}
	c, ok := b.children[name]
	if !ok {
		c = &branch{}
		b.children[name] = c
		b.order = append(b.order, name)
	}
	return c
}

// open makes a structure of a value, so that single properties of a JSON object can be
// replaced from the query.
func (b *branch) open() {
	b.children = map[string]*branch{}
	if b.leaf != nil && b.leaf.Kind == kaltura.KindObject {
		if b.leaf.Class != "" {
			class := kaltura.TextNode(b.leaf.Class)
			b.child("objectType").leaf = &class
		}
		for _, m := range b.leaf.Members {
			b.child(m.Name).leaf = &m.Value
		}
	}
	b.leaf = nil
}

// node turns the tree into one object node.
func (t *tree) node() kaltura.Node {
	return (&branch{children: t.children, order: t.order}).node()
}

func (b *branch) node() kaltura.Node {
	if b.leaf != nil {
		return *b.leaf
	}
	n := kaltura.Node{Kind: kaltura.KindObject}
	for _, name := range b.order {
		value := b.children[name].node()
		if name == "objectType" && value.Kind == kaltura.KindString {
			n.Class = value.Text
			continue
		}
		n.Members = append(n.Members, kaltura.Member{Name: name, Value: value})
	}
	return n
}

package kaltura

import (
	"reflect"
	"strconv"
	"strings"
)

// Kind is what a [Node] holds.
type Kind uint8

// The kinds of a node. The zero Node is null.
const (
	KindNull Kind = iota
	KindBool
	KindNumber
	KindString
	KindArray
	KindObject
)

// Node is a value of the API: what requests carry and answers are made of.
type Node struct {
	Kind Kind
	// Text is a scalar's text; a boolean's is "1" or "0".
	Text string
	// Items are an array's.
	Items []Node
	// Members are an object's properties in order, without objectType.
	Members []Member
	// Class is an object's objectType; empty when there is none.
	Class string
}

// Member is one property of an object.
type Member struct {
	Name  string
	Value Node
}

// Classed is implemented by wire structs: the objectType they are written with.
type Classed interface{ KalturaClass() string }

// TextNode makes a string node.
func TextNode(text string) Node { return Node{Kind: KindString, Text: text} }

// Scalar says whether the node is a boolean, a number or a string.
func (n Node) Scalar() bool {
	return n.Kind == KindBool || n.Kind == KindNumber || n.Kind == KindString
}

// Size is about how many bytes the node takes, on the wire and in memory.
func (n Node) Size() int {
	size := len(n.Text) + len(n.Class) + 16
	for _, item := range n.Items {
		size += item.Size()
	}
	for _, m := range n.Members {
		size += len(m.Name) + m.Value.Size()
	}
	return size
}

// Get returns the named member of an object, or the item of an array whose index is
// name. An object's class answers to "objectType".
func (n Node) Get(name string) (Node, bool) {
	switch n.Kind {
	case KindObject:
		for _, m := range n.Members {
			if m.Name == name {
				return m.Value, true
			}
		}
		if name == "objectType" && n.Class != "" {
			return TextNode(n.Class), true
		}
	case KindArray:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.Items) {
			return n.Items[i], true
		}
	}
	return Node{}, false
}

// Path follows a colon-separated path of names and indexes from the node. The form
// "_all:prop" joins prop of every item with commas (contract §1.5). A missing value
// gives a null node.
func (n Node) Path(path string) Node {
	for path != "" {
		name, rest, _ := strings.Cut(path, ":")
		if name == "_all" {
			return n.join(rest)
		}
		next, ok := n.Get(name)
		if !ok {
			return Node{}
		}
		n, path = next, rest
	}
	return n
}

func (n Node) join(path string) Node {
	var parts []string
	for _, item := range n.Items {
		if v := item.Path(path); v.Scalar() {
			parts = append(parts, v.Text)
		}
	}
	return TextNode(strings.Join(parts, ","))
}

// ToNode makes a node of a Go value: scalars, slices, pointers (nil is null), structs
// with json tags, and nodes themselves. The tag option omitzero makes a zero value
// null. Properties of an embedded struct come first, where the API has the base
// class. The objectType is the one of [Classed], or the text of a field tagged objectType.
func ToNode(v any) Node {
	if v == nil {
		return Node{}
	}
	return toNode(reflect.ValueOf(v))
}

func toNode(v reflect.Value) Node {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return Node{}
		}
		return toNode(v.Elem())
	case reflect.Bool:
		if v.Bool() {
			return Node{Kind: KindBool, Text: "1"}
		}
		return Node{Kind: KindBool, Text: "0"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return Node{Kind: KindNumber, Text: strconv.FormatInt(v.Int(), 10)}
	case reflect.Float32, reflect.Float64:
		return Node{Kind: KindNumber, Text: strconv.FormatFloat(v.Float(), 'f', -1, 64)}
	case reflect.String:
		return TextNode(v.String())
	case reflect.Slice:
		n := Node{Kind: KindArray, Items: make([]Node, v.Len())}
		for i := range n.Items {
			n.Items[i] = toNode(v.Index(i))
		}
		return n
	case reflect.Struct:
		if n, ok := v.Interface().(Node); ok {
			return n
		}
		n := Node{Kind: KindObject}
		n.addFields(v)
		if c, ok := v.Interface().(Classed); ok {
			n.Class = c.KalturaClass()
		}
		return n
	default:
		return Node{}
	}
}

func (n *Node) addFields(v reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			n.addFields(v.Field(i))
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || name == "" || name == "-":
		case name == "objectType":
			n.Class = v.Field(i).String()
		case option == "omitzero" && v.Field(i).IsZero():
			n.Members = append(n.Members, Member{Name: name})
		default:
			n.Members = append(n.Members, Member{Name: name, Value: toNode(v.Field(i))})
		}
	}
}

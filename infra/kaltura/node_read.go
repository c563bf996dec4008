package kaltura

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// ErrTooComplex says that a document is nested too deep or has too many values.
var ErrTooComplex = errors.New("kaltura: document is nested too deep or has too many values")

// Bounds limit a document that is read from the network.
type Bounds struct {
	// Depth is how deep objects and arrays may be nested.
	Depth int
	// Nodes is how many values there may be in all.
	Nodes int
}

// FormatError says that a property has a structure where a scalar belongs, or the
// other way round.
type FormatError struct {
	Property string
	// Format is what belongs there: "array", "object" or "scalar".
	Format string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("kaltura: property %s must be of format %s", e.Property, e.Format)
}

// ParseJSON reads one JSON document. Errors: ErrTooComplex, syntax errors.
func ParseJSON(data []byte, b Bounds) (Node, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	p := &jsonParser{dec: dec, left: b.Nodes}
	n, err := p.value(b.Depth)
	if err != nil {
		return Node{}, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return Node{}, errors.New("kaltura: data after the JSON document")
	}
	return n, nil
}

type jsonParser struct {
	dec  *json.Decoder
	left int
}

func (p *jsonParser) value(depth int) (Node, error) {
	if p.left--; p.left < 0 || depth < 0 {
		return Node{}, ErrTooComplex
	}
	token, err := p.dec.Token()
	if err != nil {
		return Node{}, err
	}
	switch v := token.(type) {
	case bool:
		return ToNode(v), nil
	case json.Number:
		return Node{Kind: KindNumber, Text: v.String()}, nil
	case string:
		return TextNode(v), nil
	case json.Delim:
		if v == '[' {
			return p.array(depth)
		}
		return p.object(depth)
	}
	return Node{}, nil
}

func (p *jsonParser) array(depth int) (Node, error) {
	n := Node{Kind: KindArray}
	for p.dec.More() {
		item, err := p.value(depth - 1)
		if err != nil {
			return Node{}, err
		}
		n.Items = append(n.Items, item)
	}
	_, err := p.dec.Token()
	return n, err
}

func (p *jsonParser) object(depth int) (Node, error) {
	n := Node{Kind: KindObject}
	for p.dec.More() {
		key, err := p.dec.Token()
		if err != nil {
			return Node{}, err
		}
		value, err := p.value(depth - 1)
		if err != nil {
			return Node{}, err
		}
		name, _ := key.(string)
		if name == "objectType" && value.Kind == KindString {
			n.Class = value.Text
			continue
		}
		n.Members = append(n.Members, Member{Name: name, Value: value})
	}
	_, err := p.dec.Token()
	return n, err
}

// Decode sets the fields of the struct (or other value) that dst points to from the
// node. It is lenient as the API is: numbers, booleans and strings become one
// another, unknown properties are skipped, an object with numeric keys is an array.
// Fields that the node does not name keep their value. Errors: *FormatError.
func (n Node) Decode(dst any) error {
	d := decoder{fields: map[reflect.Type]map[string][]int{}}
	return d.set(reflect.ValueOf(dst).Elem(), n, "")
}

type decoder struct {
	fields map[reflect.Type]map[string][]int
}

func (d decoder) set(v reflect.Value, n Node, name string) error {
	if v.Type() == reflect.TypeFor[Node]() {
		v.Set(reflect.ValueOf(n))
		return nil
	}
	if n.Kind == KindNull {
		v.SetZero()
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if err := d.set(p.Elem(), n, name); err != nil {
			return err
		}
		v.Set(p)
		return nil
	case reflect.Slice:
		return d.setSlice(v, n, name)
	case reflect.Struct:
		return d.setStruct(v, n, name)
	}
	if !n.Scalar() {
		return &FormatError{Property: name, Format: "scalar"}
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(truth(n.Text))
	case reflect.String:
		v.SetString(n.Text)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(leadingFloat(n.Text))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(leadingNumber(n))
	}
	return nil
}

// leadingNumber reads an integer also where JSON has 1.0 or 1e3.
func leadingNumber(n Node) int64 {
	if n.Kind == KindNumber && strings.ContainsAny(n.Text, ".eE") {
		return int64(leadingFloat(n.Text))
	}
	if n.Kind == KindString && strings.EqualFold(n.Text, "true") {
		return 1
	}
	return leadingInt(n.Text)
}

func (d decoder) setSlice(v reflect.Value, n Node, name string) error {
	items := n.Items
	switch n.Kind {
	case KindArray:
	case KindObject:
		items = n.sorted()
	default:
		return &FormatError{Property: name, Format: "array"}
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if err := d.set(out.Index(i), item, name); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

// sorted returns an object's values in the numeric order of their keys.
func (n Node) sorted() []Node {
	members := slices.Clone(n.Members)
	slices.SortStableFunc(members, func(a, b Member) int {
		x, _ := strconv.Atoi(a.Name)
		y, _ := strconv.Atoi(b.Name)
		return cmp.Compare(x, y) // a difference could wrap
	})
	out := make([]Node, len(members))
	for i, m := range members {
		out[i] = m.Value
	}
	return out
}

func (d decoder) setStruct(v reflect.Value, n Node, name string) error {
	if n.Kind != KindObject {
		// PHP writes an object without properties as an empty array.
		if n.Kind == KindArray && len(n.Items) == 0 {
			return nil
		}
		return &FormatError{Property: name, Format: "object"}
	}
	fields := d.of(v.Type())
	if at, ok := fields["objectType"]; ok && n.Class != "" {
		v.FieldByIndex(at).SetString(n.Class)
	}
	for _, m := range n.Members {
		if at, ok := fields[m.Name]; ok {
			if err := d.set(v.FieldByIndex(at), m.Value, m.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// of maps the json names of a struct's fields, those of embedded structs included.
func (d decoder) of(t reflect.Type) map[string][]int {
	if m, ok := d.fields[t]; ok {
		return m
	}
	m := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" && !f.Anonymous && f.IsExported() {
			m[name] = f.Index
		}
	}
	d.fields[t] = m
	return m
}

package publisher

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// AMF0 type markers (AMF 0 specification §2.1).
const (
	amfNumber    = 0x00
	amfBoolean   = 0x01
	amfString    = 0x02
	amfObject    = 0x03
	amfNull      = 0x05
	amfUndefined = 0x06
	amfECMAArray = 0x08
	amfObjectEnd = 0x09
	amfArray     = 0x0a
	amfLongText  = 0x0c
)

// maxAMFDepth bounds the nesting that a server's answer may have.
const maxAMFDepth = 8

var errAMF = errors.New("malformed AMF0")

// Property is one named value of a command object or of the metadata. Value is a string,
// float64, int, bool, nil or []Property.
type Property struct {
	Name  string
	Value any
}

func appendAMF(b []byte, values ...any) []byte {
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b = append(b, amfNull)
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, amfNumber), math.Float64bits(v))
		case int:
			b = appendAMF(b, float64(v))
		case bool:
			b = append(b, amfBoolean, 0)
			if v {
				b[len(b)-1] = 1
			}
		case string:
			b = appendAMFString(b, v)
		case []Property:
			b = appendAMFProperties(append(b, amfObject), v)
		default:
			// The package's own callers decide the types.
			panic(fmt.Sprintf("publisher: no AMF0 form for %T", v))
		}
	}
	return b
}

func appendAMFString(b []byte, s string) []byte {
	if len(s) > math.MaxUint16 {
		b = binary.BigEndian.AppendUint32(append(b, amfLongText), uint32(len(s)))
		return append(b, s...)
	}
	b = binary.BigEndian.AppendUint16(append(b, amfString), uint16(len(s)))
	return append(b, s...)
}

func appendAMFProperties(b []byte, ps []Property) []byte {
	for _, p := range ps {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.Name)))
		b = append(b, p.Name...)
		b = appendAMF(b, p.Value)
	}
	return append(b, 0, 0, amfObjectEnd)
}

// amfReader reads the values of one message.
type amfReader struct{ b []byte }

func (r *amfReader) take(n int) ([]byte, error) {
	if n < 0 || n > len(r.b) {
		return nil, errAMF
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v, nil
}

func (r *amfReader) size(width int) (int, error) {
	v, err := r.take(width)
	if err != nil {
		return 0, err
	}
	if width == 2 {
		return int(binary.BigEndian.Uint16(v)), nil
	}
	n := binary.BigEndian.Uint32(v)
	if uint64(n) > uint64(len(r.b)) {
		return 0, errAMF
	}
	return int(n), nil
}

func (r *amfReader) text(width int) (string, error) {
	n, err := r.size(width)
	if err != nil {
		return "", err
	}
	v, err := r.take(n)
	return string(v), err
}

// value reads one value: a float64, bool, string, nil, map[string]any or []any.
func (r *amfReader) value(depth int) (any, error) {
	if depth > maxAMFDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d", errAMF, maxAMFDepth)
	}
	marker, err := r.take(1)
	if err != nil {
		return nil, err
	}
	switch marker[0] {
	case amfNumber:
		v, err := r.take(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(v)), nil
	case amfBoolean:
		v, err := r.take(1)
		if err != nil {
			return nil, err
		}
		return v[0] != 0, nil
	case amfString:
		return r.text(2)
	case amfLongText:
		return r.text(4)
	case amfNull, amfUndefined:
		return nil, nil
	case amfObject:
		return r.object(depth)
	case amfECMAArray:
		if _, err := r.take(4); err != nil {
			return nil, err
		}
		return r.object(depth)
	case amfArray:
		return r.array(depth)
	}
	return nil, fmt.Errorf("%w: type %#x", errAMF, marker[0])
}

func (r *amfReader) object(depth int) (map[string]any, error) {
	m := map[string]any{}
	for {
		name, err := r.text(2)
		if err != nil {
			return nil, err
		}
		if name == "" && len(r.b) > 0 && r.b[0] == amfObjectEnd {
			r.b = r.b[1:]
			return m, nil
		}
		if m[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
}

func (r *amfReader) array(depth int) ([]any, error) {
	n, err := r.size(4)
	if err != nil {
		return nil, err
	}
	var out []any
	for range n {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// readAMF reads all values of a message.
func readAMF(b []byte) ([]any, error) {
	r := amfReader{b}
	var out []any
	for len(r.b) > 0 {
		v, err := r.value(0)
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

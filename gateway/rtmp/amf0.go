package rtmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// AMF0 type markers (AMF 0 specification §2.1).
const (
	amfNumber      = 0x00
	amfBoolean     = 0x01
	amfString      = 0x02
	amfObject      = 0x03
	amfNull        = 0x05
	amfUndefined   = 0x06
	amfReference   = 0x07
	amfECMAArray   = 0x08
	amfObjectEnd   = 0x09
	amfStrictArray = 0x0a
	amfDate        = 0x0b
	amfLongString  = 0x0c
	amfUnsupported = 0x0d
	amfXML         = 0x0f
	amfTypedObject = 0x10
)

var (
	// errAMF is returned for bytes that are no AMF0.
	errAMF = errors.New("malformed AMF0")
	// errAMFLimit is returned for AMF0 that is nested too deeply or has too many values.
	errAMFLimit = errors.New("AMF0 beyond its limits")
)

// The Go forms of AMF0 values, beside nil for null, bool, float64 and string (long strings
// too) and []any for a strict array.
type (
	undefined   struct{}
	unsupported struct{}
	reference   uint16
	xmlDocument string
	date        struct {
		millis float64
		zone   int16
	}
	property struct {
		key   string
		value any
	}
	// object is an object, a typed object (class is set) or an ECMA array.
	object struct {
		class string
		array bool
		props []property
	}
)

// get returns the value of a key, nil when there is none. The last of equal keys wins.
func (o *object) get(key string) any {
	for i := len(o.props) - 1; i >= 0; i-- {
		if o.props[i].key == key {
			return o.props[i].value
		}
	}
	return nil
}

// maxAMFValues bounds the values of one message: 4096 are 200 times what encoders send.
const maxAMFValues = 4096

// amfReader decodes AMF0 from untrusted bytes. Nothing is allocated by a claimed size, only
// for bytes that are there.
type amfReader struct {
	b []byte
	// depth is how deep objects and arrays may nest.
	depth  int
	values int
}

// decodeAMF decodes all values in b.
func decodeAMF(b []byte, depth int) ([]any, error) {
	r := amfReader{b: b, depth: depth}
	var values []any
	for len(r.b) > 0 {
		v, err := r.value(0)
		if err != nil {
			return values, err
		}
		values = append(values, v)
	}
	return values, nil
}

func (r *amfReader) take(n int) ([]byte, error) {
	if n < 0 || n > len(r.b) {
		return nil, fmt.Errorf("%w: %d bytes wanted, %d left", errAMF, n, len(r.b))
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b, nil
}

// value decodes one value at the given depth.
func (r *amfReader) value(depth int) (any, error) {
	if r.values++; r.values > maxAMFValues {
		return nil, fmt.Errorf("%w: more than %d values", errAMFLimit, maxAMFValues)
	}
	m, err := r.take(1)
	if err != nil {
		return nil, err
	}
	switch m[0] {
	case amfNumber:
		return r.number()
	case amfBoolean:
		b, err := r.take(1)
		return err == nil && b[0] != 0, err
	case amfString:
		return r.text(2)
	case amfLongString:
		return r.text(4)
	case amfXML:
		s, err := r.text(4)
		return xmlDocument(s), err
	case amfNull:
		return nil, nil
	case amfUndefined:
		return undefined{}, nil
	case amfUnsupported:
		return unsupported{}, nil
	case amfReference:
		b, err := r.take(2)
		if err != nil {
			return nil, err
		}
		return reference(binary.BigEndian.Uint16(b)), nil
	case amfDate:
		return r.date()
	case amfObject, amfTypedObject, amfECMAArray, amfStrictArray:
		if depth >= r.depth {
			return nil, fmt.Errorf("%w: nested deeper than %d", errAMFLimit, r.depth)
		}
		return r.compound(m[0], depth+1)
	}
	return nil, fmt.Errorf("%w: type marker 0x%02x", errAMF, m[0])
}

func (r *amfReader) compound(marker byte, depth int) (any, error) {
	switch marker {
	case amfStrictArray:
		return r.strictArray(depth)
	case amfTypedObject:
		class, err := r.text(2)
		if err != nil {
			return nil, err
		}
		return r.object(&object{class: class}, depth)
	case amfECMAArray:
		// The count is a hint (§2.10): the end marker counts.
		if _, err := r.take(4); err != nil {
			return nil, err
		}
		return r.object(&object{array: true}, depth)
	}
	return r.object(&object{}, depth)
}

func (r *amfReader) object(o *object, depth int) (any, error) {
	for {
		if len(r.b) == 0 && o.array {
			// Some encoders leave the end of onMetaData's array out.
			return o, nil
		}
		key, err := r.text(2)
		if err != nil {
			return nil, err
		}
		if key == "" {
			end, err := r.take(1)
			if err != nil {
				return nil, err
			}
			if end[0] != amfObjectEnd {
				return nil, fmt.Errorf("%w: property without a name", errAMF)
			}
			return o, nil
		}
		v, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		o.props = append(o.props, property{key, v})
	}
}

func (r *amfReader) strictArray(depth int) (any, error) {
	b, err := r.take(4)
	if err != nil {
		return nil, err
	}
	// Each element takes at least its marker.
	count := binary.BigEndian.Uint32(b)
	if uint64(count) > uint64(len(r.b)) {
		return nil, fmt.Errorf("%w: array of %d elements in %d bytes", errAMF, count, len(r.b))
	}
	values := []any{}
	for range count {
		v, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

func (r *amfReader) number() (float64, error) {
	b, err := r.take(8)
	if err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

func (r *amfReader) date() (any, error) {
	ms, err := r.number()
	if err != nil {
		return nil, err
	}
	b, err := r.take(2)
	if err != nil {
		return nil, err
	}
	return date{ms, int16(binary.BigEndian.Uint16(b))}, nil
}

// text reads a string whose length field is size bytes wide.
func (r *amfReader) text(size int) (string, error) {
	b, err := r.take(size)
	if err != nil {
		return "", err
	}
	n := uint64(0)
	for _, v := range b {
		n = n<<8 | uint64(v)
	}
	if n > uint64(len(r.b)) {
		return "", fmt.Errorf("%w: string of %d bytes, %d left", errAMF, n, len(r.b))
	}
	s, err := r.take(int(n))
	return string(s), err
}

// appendAMF encodes values. Integers become numbers; a type that AMF0 does not have becomes
// undefined.
func appendAMF(b []byte, values ...any) []byte {
	for _, v := range values {
		b = appendValue(b, v)
	}
	return b
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, amfNull)
	case bool:
		if v {
			return append(b, amfBoolean, 1)
		}
		return append(b, amfBoolean, 0)
	case int:
		return appendValue(b, float64(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, amfNumber), math.Float64bits(v))
	case string:
		if len(v) > math.MaxUint16 {
			return appendLong(append(b, amfLongString), v)
		}
		return appendShort(append(b, amfString), v)
	case xmlDocument:
		return appendLong(append(b, amfXML), string(v))
	case unsupported:
		return append(b, amfUnsupported)
	case reference:
		return binary.BigEndian.AppendUint16(append(b, amfReference), uint16(v))
	case date:
		b = binary.BigEndian.AppendUint64(append(b, amfDate), math.Float64bits(v.millis))
		return binary.BigEndian.AppendUint16(b, uint16(v.zone))
	case []any:
		b = binary.BigEndian.AppendUint32(append(b, amfStrictArray), uint32(len(v)))
		return appendAMF(b, v...)
	case *object:
		return appendObject(b, v)
	}
	return append(b, amfUndefined)
}

func appendObject(b []byte, o *object) []byte {
	switch {
	case o.array:
		b = binary.BigEndian.AppendUint32(append(b, amfECMAArray), uint32(len(o.props)))
	case o.class != "":
		b = appendShort(append(b, amfTypedObject), o.class)
	default:
		b = append(b, amfObject)
	}
	for _, p := range o.props {
		b = appendValue(appendShort(b, p.key), p.value)
	}
	return append(b, 0, 0, amfObjectEnd)
}

func appendShort(b []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint16)]
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendLong(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

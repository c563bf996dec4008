package kaltura

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// AppendXML appends the node as api_v3 writes it in XML: no whitespace, objectType
// first, booleans 1 or 0, array entries in item elements (contract §1.6). With
// ignoreNull, null properties are left out; otherwise they are empty elements.
func (n Node) AppendXML(b []byte, ignoreNull bool) []byte {
	switch n.Kind {
	case KindNull:
		return b
	case KindArray:
		for _, item := range n.Items {
			b = append(b, "<item>"...)
			b = item.AppendXML(b, ignoreNull)
			b = append(b, "</item>"...)
		}
		return b
	case KindObject:
		if n.Class != "" {
			b = append(b, "<objectType>"+n.Class+"</objectType>"...)
		}
		for _, m := range n.Members {
			if m.Value.Kind == KindNull && ignoreNull {
				continue
			}
			b = append(b, "<"+m.Name+">"...)
			b = m.Value.AppendXML(b, ignoreNull)
			b = append(b, "</"+m.Name+">"...)
		}
		return b
	default:
		return AppendXMLText(b, n.Text)
	}
}

// AppendXMLText appends text with the five XML entities. What XML cannot carry
// (control characters, broken UTF-8) becomes U+FFFD.
func AppendXMLText(b []byte, text string) []byte {
	for _, r := range text {
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '"':
			b = append(b, "&quot;"...)
		case r == '\'':
			b = append(b, "&apos;"...)
		case !ValidXMLChar(r):
			b = utf8.AppendRune(b, utf8.RuneError)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// ValidXMLChar says whether XML 1.0 allows the character (XML 1.0, production 2).
func ValidXMLChar(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r':
		return true
	case r < 0x20, r == 0xFFFE, r == 0xFFFF, r >= 0xD800 && r <= 0xDFFF:
		return false
	}
	return true
}

// AppendJSON appends the node as api_v3 writes it in JSON: null properties left out,
// objectType as the last member (contract §1.6).
func (n Node) AppendJSON(b []byte) []byte {
	switch n.Kind {
	case KindBool:
		if n.Text == "1" {
			return append(b, "true"...)
		}
		return append(b, "false"...)
	case KindNumber:
		return append(b, n.Text...)
	case KindString:
		return appendJSONText(b, n.Text)
	case KindArray:
		b = append(b, '[')
		for i, item := range n.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.AppendJSON(b)
		}
		return append(b, ']')
	case KindObject:
		return n.appendJSONObject(b)
	default:
		return append(b, "null"...)
	}
}

func (n Node) appendJSONObject(b []byte) []byte {
	b = append(b, '{')
	first := true
	name := func(s string) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendJSONText(b, s), ':')
	}
	for _, m := range n.Members {
		if m.Value.Kind != KindNull {
			name(m.Name)
			b = m.Value.AppendJSON(b)
		}
	}
	if n.Class != "" {
		name("objectType")
		b = appendJSONText(b, n.Class)
	}
	return append(b, '}')
}

func appendJSONText(b []byte, text string) []byte {
	var s strings.Builder
	enc := json.NewEncoder(&s)
	enc.SetEscapeHTML(false)
	// A string always encodes.
	_ = enc.Encode(text)
	return append(b, strings.TrimSuffix(s.String(), "\n")...)
}

package bus

import (
	"fmt"
	"strings"
)

const (
	maxKeyBytes  = 256
	maxKeyTokens = 16
	maxNameBytes = 64
)

// checkName checks the name of a bucket or log: letters, digits, - and _.
func checkName(name string) error {
	if name == "" || len(name) > maxNameBytes {
		return fmt.Errorf("%w: name %q: want 1 to %d bytes", ErrInvalid, name, maxNameBytes)
	}
	for i := range len(name) {
		if c := name[i]; !plain(c) || c == '/' {
			return fmt.Errorf("%w: name %q: only letters, digits, - and _ are allowed", ErrInvalid, name)
		}
	}
	return nil
}

// plain says whether a byte stands for itself in a key on the wire.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '/'
}

// encodeKey turns a key or subject into its wire form. A key is one or more
// tokens joined by dots; any byte but a dot may stand in a token. Bytes that are
// special on the wire are written as =XX.
func encodeKey(key string) (string, error) { return encode(key, false) }

// encodePattern does the same with a pattern, in which the token * stands for any
// one token and a last token > for one or more. The empty pattern means >.
func encodePattern(pattern string) (string, error) {
	if pattern == "" {
		return ">", nil
	}
	return encode(pattern, true)
}

func encode(key string, pattern bool) (string, error) {
	if key == "" || len(key) > maxKeyBytes {
		return "", fmt.Errorf("%w: key %.40q has %d bytes, want 1 to %d", ErrInvalid, key, len(key), maxKeyBytes)
	}
	tokens := strings.Split(key, ".")
	if len(tokens) > maxKeyTokens {
		return "", fmt.Errorf("%w: key %q has more than %d parts", ErrInvalid, key, maxKeyTokens)
	}
	var b strings.Builder
	for i, token := range tokens {
		if token == "" {
			return "", fmt.Errorf("%w: key %q has an empty part: dots only go between parts", ErrInvalid, key)
		}
		if i > 0 {
			b.WriteByte('.')
		}
		if pattern && (token == "*" || token == ">" && i == len(tokens)-1) {
			b.WriteString(token)
			continue
		}
		encodeToken(&b, token)
	}
	return b.String(), nil
}

func encodeToken(b *strings.Builder, token string) {
	const hex = "0123456789ABCDEF"
	for i := range len(token) {
		if c := token[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('=')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
}

// decodeKey is the inverse of encodeKey. What encodeKey cannot have written
// stays as it is.
func decodeKey(wire string) string {
	if !strings.Contains(wire, "=") {
		return wire
	}
	b := make([]byte, 0, len(wire))
	for i := 0; i < len(wire); i++ {
		if wire[i] == '=' && i+2 < len(wire) {
			if hi, lo := unhex(wire[i+1]), unhex(wire[i+2]); hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, wire[i])
	}
	return string(b)
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Size is a number of bytes, written "8MiB".
type Size int64

// The units of a Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

var sizeUnits = []struct {
	name string
	n    Size
}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"B", 1}}

var errSize = errors.New(`want a size such as "512KiB", "8MiB" or "1GiB"`)

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.n == 0 {
			return strconv.FormatInt(int64(s/u.n), 10) + u.name
		}
	}
	return "0B"
}

// ParseSize reads a whole number of bytes with its unit: B, KiB, MiB or GiB.
func ParseSize(text string) (Size, error) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || n > math.MaxInt64/uint64(u.n) {
			return 0, errSize
		}
		return Size(n) * u.n, nil
	}
	return 0, errSize
}

// Secret is a value that shows itself to nobody who merely prints it.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String is what logs and errors may show: whether there is a secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[secret]"
}

// GoString keeps %#v from showing the secret.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// LogValue keeps slog from showing the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps encoders from showing the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const maxSecretFile = 64 << 10

// resolveSecret reads a secret: the text itself, or for "file:/path" the content of the
// file without the line end behind it. Its errors name the file and never its content.
func resolveSecret(text string) (Secret, error) {
	path, ok := strings.CutPrefix(text, "file:")
	if !ok {
		return Secret(text), nil
	}
	if !filepath.IsAbs(path) {
		return "", errors.New(`a secret in a file is written "file:/absolute/path"`)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("can't read the secret: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("can't read the secret: %w", err)
	case len(b) > maxSecretFile:
		return "", fmt.Errorf("the secret's file %s is over %d bytes", path, maxSecretFile)
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" {
		return "", fmt.Errorf("the secret's file %s is empty", path)
	}
	return Secret(s), nil
}

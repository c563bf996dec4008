//go:build !linux

package fault

import "testing"

// Namespace is a network namespace, which this system does not have.
type Namespace struct{}

// Cable joins a namespace and this host.
type Cable struct{ Here, There string }

// NewNamespace skips the test.
func NewNamespace(t testing.TB, _ int) (*Namespace, []*Cable) {
	t.Skip("SKIP: network namespaces are Linux's")
	return nil, nil
}

// Down pulls the cable.
func (*Cable) Down() {}

// Up plugs it in again.
func (*Cable) Up() {}

func (*Namespace) command(path string, args []string) (string, []string) { return path, args }

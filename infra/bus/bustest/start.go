package bustest

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats"
)

// Prepare makes it possible to run a bus inside synctest bubbles until the test
// ends. Call it outside the bubble.
func Prepare(t testing.TB) {
	ats.Register()
	t.Cleanup(ats.Unregister)
}

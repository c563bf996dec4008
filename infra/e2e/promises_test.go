package e2e

import (
	"fmt"
	"os"
	"testing"

	"klive/infra/check"
)

// promises is the promise table: what must survive what, and the tests that show it.
var promises = &check.Report{Rows: []check.Row{
	{Fault: "kill −9 a transcode worker", Promise: "its segments are made elsewhere, in time", Tests: []string{"TestClusterTranscodersKilled"}},
	{Fault: "kill −9 an owner", Promise: "another owns within 3 s; nothing missing or doubled", Tests: []string{"TestClusterOwnerKilled"}},
	{Fault: "an owner is stopped, or parted from the bus", Promise: "the fenced one changes nothing", Tests: []string{"TestClusterOwnerStopped", "TestClusterOwnerParted"}},
	{Fault: "kill −9 of each role, and of two at once", Promise: "the same broadcast; lost is what the encoder did not send again", Tests: []string{"TestClusterRolesKilled"}},
	{Fault: "a gateway is parted, or everything restarted in turn", Promise: "the same broadcast; lost is what the encoder did not send again", Tests: []string{"TestClusterGatewayParted", "TestClusterRollingRestart"}},
	{Fault: "kill −9 a leader of the bus", Promise: "nothing lost; stall at most 10 s", Tests: []string{"TestClusterBusLeaderKilled"}},
	{Fault: "the store is away for 60 s", Promise: "viewers keep the live edge; everything is stored after", Tests: []string{"TestClusterStoreAway"}},
	{Fault: "Kaltura's API is away for 10 minutes", Promise: "broadcasts and reconnects go on", Tests: []string{"TestScenarios/api-outage", "TestScenarios/api-outage-start", "TestScenarios/api-outage-end"}},
	{Fault: "both are away when a broadcast ends", Promise: "everything is stored; one VOD", Tests: []string{"TestClusterEndWithoutStoreAndAPI"}},
	{Fault: "the primary encoder is pulled", Promise: "viewers go on from the backup within 3 s", Tests: []string{"TestClusterPrimaryPulled"}},
	{Fault: "the same, the backup on another protocol and 700 ms apart", Promise: "the same; nothing is repeated, one GOP at most is lost", Tests: []string{"TestClusterBackupOfAnotherProtocol/srt", "TestClusterBackupOfAnotherProtocol/push"}},
	{Fault: "encoders flap, 700 ms apart; both are pulled", Promise: "a switch in 10 s at most; nothing repeated", Tests: []string{"TestClusterEncodersFlap", "TestScenarios/feeds-flapping", "TestScenarios/feeds-both-pulled"}},
	{Fault: "the data folder's disk is full", Promise: "a clear error; nothing corrupt; goes on when there is room", Tests: []string{"TestDiskFull"}},
	{Fault: "file descriptors are exhausted", Promise: "what is on the air goes on", Tests: []string{"TestDescriptorsExhausted"}},
	{Fault: "the memory that a process may use is used up", Promise: "no more streams are taken; what is on the air goes on", Tests: []string{"TestMemoryLimit"}},
	{Fault: "a worker's or a gateway's clock is stepped by ±5 s", Promise: "it says so; the broadcast goes on", Tests: []string{"TestClusterClockStepped"}},
	{Fault: "malformed input", Promise: "that connection ends; the process lives", Tests: []string{"TestMutatedSessions"}},
	{Fault: "20 minutes of random faults", Promise: "every promise holds", Tests: []string{"TestClusterRandomFaults"}},
}}

// promised has a test report when it ends, with the figures that are put into what it returns.
func promised(t testing.TB) *check.Promise {
	p := check.Unmeasured(t.Name())
	t.Cleanup(func() {
		if t.Skipped() {
			return
		}
		p.Held = !t.Failed()
		promises.Add(*p)
	})
	return p
}

// readme holds the table.
const readme = "../../README.md"

// tellPromises prints the table after a run of tests that are in it. At their stated length it goes
// into README.md as well.
func tellPromises() error {
	if promises.Empty() || !proving() {
		return nil
	}
	fmt.Println(promises.Lines(""))
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	with, err := promises.Into(string(text))
	if err != nil || with == string(text) {
		return err
	}
	return os.WriteFile(readme, []byte(with), 0o644)
}

// TestPromiseTableHasAPlace holds that README.md has the table, and that its rows are this one's.
func TestPromiseTableHasAPlace(t *testing.T) {
	text, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	with, err := promises.Into(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(readme, []byte(with), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if promises.Empty() && with != string(text) {
		t.Error("README.md has other rows than the table; make prove writes them")
	}
}

package node

import (
	"context"

	"klive/infra/telemetry"
)

// startTraces makes the traces of telemetry.traces.url.
func (n *Node) startTraces(ctx context.Context) error {
	url := n.settings.Telemetry.Traces.URL
	if url == "" {
		return nil
	}
	traces, err := telemetry.NewTraces(ctx, telemetry.TraceConfig{URL: url, Version: n.cfg.Version, Node: n.process, Log: n.log})
	if err != nil {
		return err
	}
	n.tracer = traces.Tracer("klive")
	n.onClose(func(ctx context.Context) {
		if err := traces.Close(ctx); err != nil {
			n.log.Warn("not every trace span was sent", "error", err)
		}
	})
	return nil
}

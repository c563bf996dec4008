package node

import (
	"context"
	"fmt"
	"time"

	"klive/infra/kaltura"
)

// unlikelyEntry is an entry that no Kaltura has: asking for it changes nothing.
const unlikelyEntry = "0_00000000"

// CheckKaltura asks the API one harmless question. The error says what to do when nobody
// answers, or when the session that the client signs is not accepted.
func CheckKaltura(ctx context.Context, client *kaltura.Client) error {
	_, err := client.LiveStreamGet(ctx, client.Partner(), unlikelyEntry)
	switch {
	case err == nil:
		return nil
	case kaltura.IsCode(err, kaltura.CodeInvalidKS, kaltura.CodeMissingKS, kaltura.CodeContentBlocked, "ACCESS_UNAUTHORIZED"):
		return fmt.Errorf("this server's session is not accepted by Kaltura; check kaltura.partnerId and kaltura.secret: %w", err)
	case kaltura.Unavailable(err):
		return fmt.Errorf("%w; until it answers no new stream is let in (key kaltura.url)", err)
	}
	return nil // it knows the session; what it says of the entry does not matter
}

// kalturaPatience is how long the API may be away while a whole deployment starts.
const kalturaPatience = 10 * time.Second

// checkKaltura tells the operator early what the first encoder would find out.
func (n *Node) checkKaltura(ctx context.Context) error {
	if n.embedded() || n.client == nil {
		return nil
	}
	ask, stop := context.WithCancel(context.WithoutCancel(ctx))
	patience := time.Now()
	if cluster(n.settings) {
		patience = patience.Add(kalturaPatience)
	}
	n.running.Go(func() {
		err := CheckKaltura(ask, n.client)
		for err != nil && time.Now().Before(patience) && ask.Err() == nil {
			select {
			case <-ask.Done():
			case <-time.After(time.Second):
				err = CheckKaltura(ask, n.client)
			}
		}
		switch {
		case ask.Err() != nil:
		case err != nil:
			n.log.Error("streams can't be let in yet", "error", err)
		case n.roles.Has(Gateway):
			// Most profiles are made of these: entries find them known (contract row 40).
			if _, err := n.client.FlavorParamsList(ask, n.client.Partner()); err != nil {
				n.log.Info("the list of flavor params can't be had; they are read as entries need them", "error", err)
			}
		}
	})
	n.onClose(func(context.Context) { stop() })
	return nil
}

package admin

import (
	"context"
	"net/http"
	"time"
)

// Cluster tells what the nodes of the deployment do.
type Cluster interface {
	// Nodes lists the processes that were heard in the last minute, by name.
	Nodes(ctx context.Context) ([]NodeState, error)
	// Live lists the entries that somebody owns or publishes, by id.
	Live(ctx context.Context) ([]LiveEntry, error)
}

// NodeState is a process as the others hear it.
type NodeState struct {
	Name string `json:"name"`
	// Self marks the one that answers.
	Self    bool     `json:"self,omitempty"`
	Roles   []string `json:"roles"`
	Version string   `json:"version"`
	// Address is its internal one; empty when it has none.
	Address string `json:"address,omitempty"`
	Ready   bool   `json:"ready"`
	// Why is why it is not ready, or is and takes no new streams.
	Why      string `json:"why,omitempty"`
	Draining bool   `json:"draining,omitempty"`
	// Owned is how many entries it owns, Load the sum of their bitrates in bit/s.
	Owned int   `json:"owned"`
	Load  int64 `json:"load"`
	// Feeds is how many encoders it holds.
	Feeds int `json:"feeds"`
	// SpoolBytes wait on its disk for the store, the oldest since SpoolOldest.
	SpoolBytes  int64     `json:"spoolBytes"`
	SpoolOldest time.Time `json:"spoolOldest,omitzero"`
	// StoreAway is why the store does not take them; empty while it does.
	StoreAway string `json:"storeAway,omitempty"`
	// TranscodeAway is why it takes no transcode jobs; empty while it does, and where it does not transcode.
	TranscodeAway string `json:"transcodeAway,omitempty"`
	// BusRTT is how long the bus took for its last answer, in seconds.
	BusRTT float64   `json:"busRtt"`
	Heard  time.Time `json:"heard"`
}

// Process is what a process holds of its host, by which "klive doctor" tells its ports and
// folders from those of others.
type Process struct {
	// Listeners are the addresses that it listens on, by configuration key; several of one key
	// are joined by commas.
	Listeners map[string]string `json:"listeners"`
	// Store is the address of the store, once it is open.
	Store string `json:"store,omitempty"`
}

// Health says how an entry that is on the air is.
type Health string

// How an entry can be.
const (
	HealthStarting Health = "starting"
	HealthLive     Health = "live"
	HealthWaiting  Health = "waiting" // for its encoders
	HealthHeld     Health = "held"    // the store is away
	HealthBehind   Health = "behind"
	HealthGaps     Health = "gaps"   // its newest segments could not be had or stored
	HealthOrphan   Health = "orphan" // nobody owns it
	HealthDamaged  Health = "damaged"
	HealthUnknown  Health = "unknown" // its timeline can't be read at this moment
)

// LiveEntry is an entry that is on the air.
type LiveEntry struct {
	ID string `json:"-"`
	// Owner is the worker that has it, Epoch the fence it writes under. Since and MovingTo are
	// known to the owner itself.
	Owner    string    `json:"owner,omitempty"`
	Epoch    uint64    `json:"epoch,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	MovingTo string    `json:"movingTo,omitempty"`
	// Feeds are those that arrive.
	Feeds     []string  `json:"feeds"`
	Broadcast string    `json:"broadcast,omitempty"`
	Started   time.Time `json:"started,omitzero"`
	// LastSegment is the newest one's name, LastSeq its media sequence number, Lag the time
	// since its end in seconds.
	LastSegment string  `json:"lastSegment,omitempty"`
	LastSeq     uint64  `json:"lastSeq,omitempty"`
	Lag         float64 `json:"lag"`
	// Pending counts the items that do not rest in the store yet.
	Pending int    `json:"pending"`
	Health  Health `json:"health"`
	// Text says why it is not live, and, on its owner, what keeps it from being packaged or
	// stored; empty when all is well.
	Text string `json:"text,omitempty"`
}

// nodes answers /v1/nodes.
func (h *Handler) nodes(w http.ResponseWriter, r *http.Request) {
	list, err := h.config.Cluster.Nodes(r.Context())
	if err != nil {
		h.failed(w, r, "can't list the nodes", err)
		return
	}
	if list == nil {
		list = []NodeState{}
	}
	writeJSON(w, map[string]any{"nodes": list})
}

// addLive puts what is on the air beside the entries that are known, or behind them.
func addLive(views []entryView, list []LiveEntry) []entryView {
	at := make(map[string]int, len(views))
	for i := range views {
		at[views[i].ID] = i
	}
	for i := range list {
		e := &list[i]
		if e.Feeds == nil {
			e.Feeds = []string{}
		}
		j, ok := at[e.ID]
		if !ok {
			j = len(views)
			views = append(views, entryView{ID: e.ID})
		}
		views[j].Live = e
	}
	return views
}

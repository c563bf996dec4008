package timeline

import (
	"time"

	"klive/infra/media"
)

// Record is one change of a timeline, as it stands in the entry's log. The set is closed:
// *Claimed, *Started, *Described, *Adopted, *Stored, *Ended and *Expired.
type Record interface{ isRecord() }

// Claimed says that an owner with a new epoch writes from here on.
type Claimed struct {
	Epoch uint64 `json:"epoch"`
	Owner string `json:"owner"`
}

// Started opens a broadcast. The one before it must have ended.
type Started struct {
	ID        string        `json:"id"`
	Start     media.Time    `json:"start"`
	DVRWindow time.Duration `json:"dvrWindow,omitempty"`
}

// Described adds a rendition to the current broadcast, or says what changed in it (a new
// init, new codec parameters).
type Described struct {
	Rendition Rendition `json:"rendition"`
}

// Adopted adds an item to the current broadcast before its media are stored. Seq and
// DiscontinuitySeq are given by the fold. Target is set by the broadcast's first item.
type Adopted struct {
	Item        Item `json:"item"`
	Target      int  `json:"target"`
	Independent bool `json:"independent"`
}

// Stored says that media of an item rest in the store now, or never will (Gap).
type Stored struct {
	Seq   uint64  `json:"seq"`
	Media []Media `json:"media"`
}

// Ended closes the current broadcast.
type Ended struct {
	End media.Time `json:"end"`
}

// Expired says that items before Seq have left the window of the named broadcast; an
// expired broadcast has no items left and is forgotten.
type Expired struct {
	Broadcast string `json:"broadcast"`
	Before    uint64 `json:"before"`
}

func (*Claimed) isRecord()   {}
func (*Started) isRecord()   {}
func (*Described) isRecord() {}
func (*Adopted) isRecord()   {}
func (*Stored) isRecord()    {}
func (*Ended) isRecord()     {}
func (*Expired) isRecord()   {}

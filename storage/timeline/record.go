package timeline

import (
	"time"

	"klive/infra/media"
)

// Record is one change of a timeline, as it stands in the entry's log. The set is closed:
// *Claimed, *Started, *Described, *Adopted, *Stored, *Closed, *Ended and *Expired.
type Record interface{ isRecord() }

// Claimed says that an owner with a new epoch writes from here on: the log's fence. It is
// written by [OpenWriter] alone.
type Claimed struct {
	Epoch uint64 `json:"epoch"`
	Owner string `json:"owner"`
	// NextSeq and NextDiscontinuity raise the state's when records were lost with the log, so
	// that no number is given twice.
	NextSeq           uint64 `json:"nextSeq,omitempty"`
	NextDiscontinuity uint64 `json:"nextDiscontinuity,omitempty"`
}

// Started opens a broadcast. The one before it must have ended.
type Started struct {
	ID        string        `json:"id"`
	Start     media.Time    `json:"start"`
	DVRWindow time.Duration `json:"dvrWindow,omitempty"`
}

// Described adds a rendition to the current broadcast, or says what changed in it (a new
// init, new codec parameters). First, Peak, Bytes and Duration are kept by the fold: what
// the record says of them does not count.
type Described struct {
	Rendition Rendition `json:"rendition"`
}

// Adopted adds an item to the current broadcast before its media are stored. Seq and
// DiscontinuitySeq are given by the fold: Item.Seq is 0 or the state's NextSeq. Media has
// one entry for each rendition that the item is to have; they must have been described.
// Target is in seconds and is set by the broadcast's first item, whose Discontinuity is
// dropped: a broadcast's playlists begin with it.
type Adopted struct {
	Item        Item `json:"item"`
	Target      int  `json:"target"`
	Independent bool `json:"independent"`
}

// Stored says that media of an item rest in the store now (Media.Stored), are kept by the
// owner's spool on their way there (Media.Held), or never will be there (Media.Gap). Each
// replaces the item's media of the same rendition and must have its name. Held media become
// stored or gaps by another record; media that are stored or gaps stay as they are, so
// records may be repeated.
type Stored struct {
	Seq   uint64
	Media []Media
}

// Closed says that the oldest open items of a broadcast, or its newest chapters, rest in
// one chapter object now. [Writer.Save] writes it; nobody else does.
type Closed struct {
	Broadcast string  `json:"broadcast"`
	Chapter   Chapter `json:"chapter"`
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
func (*Closed) isRecord()    {}
func (*Ended) isRecord()     {}
func (*Expired) isRecord()   {}

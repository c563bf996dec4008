package s3

import (
	"errors"
	"io"
	"sync"
)

// errDetached is what the transport reads from a body whose attempt is over.
var errDetached = errors.New("the attempt is over")

// pieces reads slices one after another without joining them. The SDK seeks in it for the
// length and the checksum.
type pieces struct {
	// mu guards the fields below: the transport may still read when an attempt has been given
	// up, and then the caller may already use its slices for something else.
	mu    sync.Mutex
	data  [][]byte
	size  int64
	index int   // the slice that is read next
	at    int   // the place in it
	pos   int64 // the place in all
}

func newPieces(data [][]byte) *pieces {
	p := &pieces{data: data}
	for _, d := range data {
		p.size += int64(len(d))
	}
	return p
}

// detach lets go of the data. Later reads fail.
func (p *pieces) detach() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.data = nil
}

// Read implements [io.Reader]. It fills b across slices.
func (p *pieces) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pos < p.size && p.data == nil {
		return 0, errDetached
	}
	n := 0
	for n < len(b) && p.index < len(p.data) {
		k := copy(b[n:], p.data[p.index][p.at:])
		n, p.at = n+k, p.at+k
		if p.at == len(p.data[p.index]) {
			p.index, p.at = p.index+1, 0
		}
	}
	p.pos += int64(n)
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Seek implements [io.Seeker].
func (p *pieces) Seek(offset int64, whence int) (int64, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += p.pos
	case io.SeekEnd:
		offset += p.size
	}
	if offset < 0 || offset > p.size {
		return 0, errors.New("storage: s3: seek outside the body")
	}
	p.pos, p.index = offset, 0
	for p.index < len(p.data) && offset >= int64(len(p.data[p.index])) {
		offset -= int64(len(p.data[p.index]))
		p.index++
	}
	p.at = int(offset)
	return p.pos, nil
}

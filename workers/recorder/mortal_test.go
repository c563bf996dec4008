package recorder_test

import (
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"klive/infra/kaltura"
	"klive/storage"
	"klive/storage/storagetest"
	"klive/workers/recorder"
)

// chance draws numbers for several goroutines.
type chance struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newChance(seed uint64) *chance { return &chance{r: rand.New(rand.NewPCG(seed, 7))} }

func (c *chance) IntN(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.IntN(n)
}

// process can be killed: then nothing that it does arrives anywhere.
type process struct {
	mu   sync.Mutex
	dies bool
	left int // calls until then
}

// kill lets the process do a few more calls.
func (p *process) kill(after int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dies, p.left = true, after
}

func (p *process) alive() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dies {
		return nil
	}
	if p.left > 0 {
		p.left--
		return nil
	}
	return errDead
}

// mortal is the store as a process sees it.
type mortal struct {
	*storagetest.Memory
	p *process
}

func (m mortal) Put(ctx context.Context, key string, data [][]byte, opt storage.PutOptions) (storage.Info, error) {
	if err := m.p.alive(); err != nil {
		return storage.Info{}, err
	}
	info, err := m.Memory.Put(ctx, key, data, opt)
	if dead := m.p.alive(); dead != nil {
		return storage.Info{}, dead
	}
	return info, err
}

func (m mortal) Get(ctx context.Context, key string, r *storage.Range) (io.ReadCloser, storage.Info, error) {
	if err := m.p.alive(); err != nil {
		return nil, storage.Info{}, err
	}
	return m.Memory.Get(ctx, key, r)
}

// mortalAPI is Kaltura as a process sees it: after its death calls don't arrive, and the answer
// to the last is lost.
type mortalAPI struct {
	k *kalturaAPI
	p *process
}

func do[T any](m mortalAPI, call func() (T, error)) (T, error) {
	var none T
	if err := m.p.alive(); err != nil {
		return none, err
	}
	v, err := call()
	if dead := m.p.alive(); dead != nil {
		return none, dead
	}
	return v, err
}

func (m mortalAPI) LiveStreamGet(ctx context.Context, partner int, entry string) (*kaltura.LiveStreamEntry, error) {
	return do(m, func() (*kaltura.LiveStreamEntry, error) { return m.k.LiveStreamGet(ctx, partner, entry) })
}

func (m mortalAPI) AppendRecording(ctx context.Context, partner int, r kaltura.AppendRequest) (*kaltura.LiveStreamEntry, error) {
	return do(m, func() (*kaltura.LiveStreamEntry, error) { return m.k.AppendRecording(ctx, partner, r) })
}

func (m mortalAPI) CancelReplace(ctx context.Context, partner int, vod string) error {
	_, err := do(m, func() (int, error) { return 0, m.k.CancelReplace(ctx, partner, vod) })
	return err
}

func (m mortalAPI) Upload(ctx context.Context, partner int, r kaltura.UploadRequest) (*kaltura.UploadToken, error) {
	return do(m, func() (*kaltura.UploadToken, error) { return m.k.Upload(ctx, partner, r) })
}

var _ recorder.API = mortalAPI{}

// down makes the store fail while it says so.
func (s *stream) down(down func() bool) { s.isDown.Store(&down) }

// now is where the stream's media end.
func (s *stream) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at.Std()
}

// forget drops the media of all but the newest items; what is cut already needs them no more.
func (s *stream) forget() {
	const keep = 60
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.b.Items); n > 2*keep {
		s.b.Items = append(s.b.Items[:0:0], s.b.Items[n-keep:]...)
		s.b.FirstSeq = s.b.Items[0].Seq
	}
}

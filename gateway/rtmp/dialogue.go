package rtmp

// dialogue is what a connection and go-rtmp say to each other. Its engine can rest: the
// library keeps 64 KB for each, which is much for the many connections that wait at one
// time when an encoder, or somebody worse, connects over and over. A rested engine is made
// anew from what has been said.
type dialogue struct {
	engines *engines
	// engine is nil before the first command and while it rests.
	engine *engine
	// said is how the engine came to where it is; nil once it can't rest any more.
	said []saying
	firm bool
}

// saying is a command, and whether the engine answers it.
type saying struct {
	command message
	answer  bool
}

// maxSaid bounds what is kept: encoders need four commands before they publish.
const maxSaid = 16

// exchange shows the engine a command and returns its answers.
func (d *dialogue) exchange(m message, answer bool) ([]message, error) {
	if err := d.resume(); err != nil {
		return nil, err
	}
	if !d.firm {
		d.said = append(d.said, saying{m, answer})
	}
	if len(d.said) > maxSaid {
		d.settle()
	}
	return d.engine.exchange(m, answer)
}

// resume makes an engine where there is none.
func (d *dialogue) resume() error {
	if d.engine != nil {
		return nil
	}
	var err error
	if d.engine, err = d.engines.start(); err != nil {
		return errShutdown
	}
	for _, s := range d.said {
		if _, err := d.engine.exchange(s.command, s.answer); err != nil {
			return err
		}
	}
	return nil
}

// settle says that the engine, which has spoken last, will not rest any more.
func (d *dialogue) settle() { d.said, d.firm = nil, true }

// rest ends the engine until it is needed again, unless it has settled.
func (d *dialogue) rest() {
	if !d.firm {
		d.end()
	}
}

// end ends the engine.
func (d *dialogue) end() {
	if d.engine != nil {
		d.engine.end()
	}
	d.engine = nil
}

package origin

import "container/list"

// making is an object that is being made.
type making struct {
	done chan struct{} // closed when the rest is set
	made *made
	err  error
}

// kept holds objects in memory, and lets those go that were used the longest ago. It is guarded by
// the mutex of who has it.
type kept struct {
	max   int64 // bytes; one object is kept whatever its size
	bytes int64
	byKey map[string]*list.Element
	order *list.List // of *keptObject, the one used last in front
}

type keptObject struct {
	key  string
	made *made
}

func newKept(max int64) kept {
	return kept{max: max, byKey: map[string]*list.Element{}, order: list.New()}
}

// get returns an object, nil for none.
func (k *kept) get(key string) *made {
	e := k.byKey[key]
	if e == nil {
		return nil
	}
	k.order.MoveToFront(e)
	return e.Value.(*keptObject).made
}

// put takes an object in. One that is there already stays.
func (k *kept) put(key string, m *made) {
	if k.get(key) != nil {
		return
	}
	k.byKey[key] = k.order.PushFront(&keptObject{key, m})
	k.bytes += int64(len(m.data))
	for k.bytes > k.max && k.order.Len() > 1 {
		o := k.order.Remove(k.order.Back()).(*keptObject)
		delete(k.byKey, o.key)
		k.bytes -= int64(len(o.made.data))
	}
}

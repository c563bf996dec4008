package controlplane

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"klive/infra/kaltura"
)

// reference is a parameter that stands for an earlier result, {1:result:objects:0:id}.
var reference = regexp.MustCompile(`^\{([0-9]{1,4}):result(?::(.*))?\}$`)

// errAnswer says that the answers of a request are too large together.
var errAnswer = errors.New("the answers are too large together; ask for fewer, or in more requests")

// multi carries out the calls of a multirequest in the order of their numbers. Errors
// do not stop the batch (contract §1.5).
func (s *Server) multi(ctx context.Context, q request) ([]result, error) {
	params := q.params
	calls := subCalls(params)
	if len(calls) > s.config.Limits.Calls {
		return nil, errTooMany
	}
	var results []result
	var values []kaltura.Node
	size := 0
	for _, c := range calls {
		r := s.run(ctx, q.from, resolve(inherit(c.params, params), values), q.filesOf(c.number))
		results = append(results, r)
		value := r.value
		if r.err != nil {
			value = r.err.Node()
		}
		values = append(values, value)
		if size += value.Size(); size > s.config.Limits.Answer {
			return nil, errAnswer
		}
		if r.file != nil {
			// A file takes the place of the whole answer.
			return results, nil
		}
	}
	return results, nil
}

// subCall is one call of a multirequest, with the number it has there.
type subCall struct {
	number int
	params kaltura.Node
}

// subCalls finds the calls in a request: numbered from 1 in forms, from 0 in JSON
// documents of the Node client. The first number without service and action ends them.
func subCalls(params kaltura.Node) []subCall {
	get := func(i int) (kaltura.Node, bool) {
		c, ok := params.Get(strconv.Itoa(i))
		return c, ok && c.Kind == kaltura.KindObject && (text(c, "service") != "" || text(c, "action") != "")
	}
	first := 1
	if _, ok := get(0); ok {
		first = 0
	}
	var out []subCall
	for i := first; ; i++ {
		c, ok := get(i)
		if !ok {
			return out
		}
		out = append(out, subCall{i, c})
	}
}

// filesOf picks the files of a call, "2:fileData".
func (q request) filesOf(number int) map[string]*incoming {
	var out map[string]*incoming
	for name, f := range q.files {
		if own, ok := strings.CutPrefix(name, strconv.Itoa(number)+":"); ok {
			if out == nil {
				out = map[string]*incoming{}
			}
			out[own] = f
		}
	}
	return out
}

// inherit copies the common parameters into a call that lacks them.
func inherit(c, params kaltura.Node) kaltura.Node {
	for _, name := range []string{"clientTag", "ks", "p", "partnerId"} {
		if _, own := c.Get(name); own {
			continue
		}
		if name == "p" {
			// A call's own partnerId must not be overruled by the common p.
			if _, own := c.Get("partnerId"); own {
				continue
			}
		}
		if v, ok := params.Get(name); ok && v.Scalar() {
			c.Members = append(c.Members, kaltura.Member{Name: name, Value: v})
		}
	}
	return c
}

// resolve replaces the references in a call's parameters by earlier results, counted
// from 1 in the order of execution. What is missing becomes an empty string.
func resolve(n kaltura.Node, values []kaltura.Node) kaltura.Node {
	switch n.Kind {
	case kaltura.KindString:
		m := reference.FindStringSubmatch(n.Text)
		if m == nil {
			return n
		}
		k, _ := strconv.Atoi(m[1])
		if k < 1 || k > len(values) {
			return kaltura.TextNode("")
		}
		v := values[k-1].Path(strings.TrimPrefix(m[2], ":"))
		if v.Kind == kaltura.KindNull {
			return kaltura.TextNode("")
		}
		return v
	case kaltura.KindArray:
		items := make([]kaltura.Node, len(n.Items))
		for i, item := range n.Items {
			items[i] = resolve(item, values)
		}
		n.Items = items
	case kaltura.KindObject:
		members := make([]kaltura.Member, len(n.Members))
		for i, m := range n.Members {
			members[i] = kaltura.Member{Name: m.Name, Value: resolve(m.Value, values)}
		}
		n.Members = members
	}
	return n
}

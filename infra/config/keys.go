package config

import (
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// EnvPrefix begins the name of every environment variable that klive reads.
const EnvPrefix = "KLIVE_"

// Key is one leaf of the configuration.
type Key struct {
	// Path is the key as in "rtmp.maxMessage".
	Path string
	// Env is the environment variable that sets it: KLIVE_RTMP_MAX_MESSAGE.
	Env string
	// Reloadable says that a running klive takes over a changed value.
	Reloadable bool

	index []int
	tag   reflect.StructTag
}

// field returns the key's place in c.
func (k Key) field(c *Config) reflect.Value {
	return reflect.ValueOf(c).Elem().FieldByIndex(k.index)
}

// Keys returns every key, in the order of the example file.
func Keys() []Key {
	return appendKeys(nil, reflect.TypeFor[Config](), "", nil)
}

func appendKeys(keys []Key, t reflect.Type, prefix string, index []int) []Key {
	for i := range t.NumField() {
		f := t.Field(i)
		path := prefix + f.Tag.Get("yaml")
		at := append(index[:len(index):len(index)], i)
		if f.Type.Kind() == reflect.Struct {
			keys = appendKeys(keys, f.Type, path+".", at)
			continue
		}
		keys = append(keys, Key{
			Path: path, Env: EnvName(path), Reloadable: f.Tag.Get("reload") == "yes",
			index: at, tag: f.Tag,
		})
	}
	return keys
}

// EnvName is the environment variable of a key: "kaltura.unregisterGrace" is
// KLIVE_KALTURA_UNREGISTER_GRACE, "rtmp.maxAMFDepth" is KLIVE_RTMP_MAX_AMF_DEPTH.
func EnvName(path string) string {
	var b strings.Builder
	b.WriteString(EnvPrefix)
	letters := []rune(path)
	for i, r := range letters {
		if r == '.' {
			b.WriteByte('_')
			continue
		}
		if unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// tree is the keys by section: the names that may stand under a path.
type tree struct {
	keys     map[string]Key      // by full path
	children map[string][]string // names under a section, "" is the top
	paths    []string
}

func newTree() *tree {
	t := &tree{keys: map[string]Key{}, children: map[string][]string{}}
	for _, k := range Keys() {
		t.keys[k.Path] = k
		t.paths = append(t.paths, k.Path)
		section := ""
		for name := range strings.SplitSeq(k.Path, ".") {
			t.child(section, name)
			section = join(section, name)
		}
	}
	return t
}

func (t *tree) child(section, name string) {
	if !slices.Contains(t.children[section], name) {
		t.children[section] = append(t.children[section], name)
	}
}

func (t *tree) isSection(path string) bool { return len(t.children[path]) > 0 }

func join(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}

package config

import "fmt"

// Change is one key whose value differs between two configurations.
type Change struct {
	Key string
	// Old and New are the values as text; a secret shows only whether there is one.
	Old, New string
	// Reloadable says that a running klive takes the new value over; any other change waits
	// for a restart.
	Reloadable bool
}

// Diff lists the keys that differ, in the order of [Keys].
func Diff(old, new *Config) []Change {
	var changes []Change
	for _, k := range Keys() {
		a, b := k.field(old), k.field(new)
		if a.Equal(b) {
			continue
		}
		changes = append(changes, Change{
			Key: k.Path, Reloadable: k.Reloadable,
			Old: hideUser(fmt.Sprint(a.Interface())), New: hideUser(fmt.Sprint(b.Interface())),
		})
	}
	return changes
}

package config

import (
	"errors"
	"strings"
)

// ViewerKey signs viewers' tokens.
type ViewerKey struct {
	ID     string
	Secret Secret
}

var (
	errViewerKeys = errors.New(`want "id:secret,id:secret" with different ids of letters, digits, '-' and '_' and secrets of at least 16 characters`)
	errShields    = errors.New("has a secret of less than 16 characters")
)

// TokenKeys reads viewer.keys; the first is the one to sign with.
func (v *Viewer) TokenKeys() ([]ViewerKey, error) {
	var keys []ViewerKey
	seen := map[string]bool{}
	for _, one := range splitList(v.Keys.Reveal()) {
		id, secret, ok := strings.Cut(one, ":")
		if !ok || !wordForm.MatchString(id) || len(secret) < minToken || seen[id] {
			return nil, errViewerKeys
		}
		seen[id] = true
		keys = append(keys, ViewerKey{id, Secret(secret)})
	}
	return keys, nil
}

// Shields are the secrets of viewer.shieldSecrets.
func (v *Viewer) Shields() []string { return splitList(v.ShieldSecrets.Reveal()) }

func (l *loader) checkViewer() {
	v := &l.config.Viewer
	if _, err := v.TokenKeys(); err != nil {
		l.wrong("viewer.keys", nil, "%v", err)
	}
	shields := v.Shields()
	if (v.ShieldHeader == "") != (len(shields) == 0) {
		l.wrong("viewer.shieldSecrets", []string{"viewer.shieldHeader"}, "and viewer.shieldHeader go together; set both or none")
	}
	for _, s := range shields {
		if len(s) < minToken {
			l.wrong("viewer.shieldSecrets", nil, "%v", errShields)
			break
		}
	}
}

package media

import "golang.org/x/text/language"

// maxLanguage bounds a language tag: those that RFC 5646 §4.4.1 asks everybody to take.
const maxLanguage = 35

// Language returns the shortest RFC 5646 tag for what a container says of a track's language:
// an ISO 639-2 code ("heb", and "ger" as well as "deu") or a tag. It is empty when that says
// nothing: undetermined, several languages, no code at all.
func Language(code string) string {
	if code == "" || len(code) > maxLanguage {
		return ""
	}
	tag, err := language.Parse(code)
	if err != nil {
		return ""
	}
	base, _, _ := tag.Raw() // as it is said: nothing is guessed
	switch base.String() {
	case "und", "mul", "zxx", "mis":
		return ""
	}
	return tag.String()
}

// LanguageISO3 is the ISO 639-2 code of a tag, "und" when there is none: what an MP4 media header
// holds (ISO/IEC 14496-12 §8.4.2).
func LanguageISO3(tag string) string {
	if tag == "" {
		return "und"
	}
	t, err := language.Parse(tag)
	if err != nil {
		return "und"
	}
	base, _, _ := t.Raw()
	if iso := base.ISO3(); len(iso) == 3 {
		return iso
	}
	return "und"
}

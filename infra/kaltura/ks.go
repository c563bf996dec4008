package kaltura

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Errors of [ParseKS]. Neither carries any part of the session string.
var (
	// ErrKSFormat says that the text is no session string.
	ErrKSFormat = errors.New("kaltura: malformed session string")
	// ErrKSSignature says that no secret of the named partner signed the session.
	ErrKSSignature = errors.New("kaltura: session signature does not match")
)

// Session types (KalturaSessionType). Any type of at least 1 counts as administrator.
const (
	SessionUser  = 0
	SessionAdmin = 2
)

// MediaServerPartner is the system partner that media servers belong to. It may
// act for the partner of every entry.
const MediaServerPartner = -5

// BatchPartner is the system partner of the background jobs.
const BatchPartner = -1

// maxKS bounds a session string. Real ones have 100 to 1000 characters.
const maxKS = 16 << 10

// KS is the content of a session string (contract §2.2, §2.3).
type KS struct {
	PartnerID int
	// Expiry is in seconds since the Unix epoch.
	Expiry int64
	Type   int
	UserID string
	// Privileges is a comma-separated list of name or name:value.
	Privileges string
	// MasterPartnerID and AdditionalData are empty in nearly all sessions.
	MasterPartnerID string
	AdditionalData  string
	// Version is 1 or 2; set by ParseKS.
	Version int
	// Rand makes version 1 strings differ. Empty: drawn by SignV1.
	Rand string
	// Full writes all nine fields of version 1 even when the last two are empty.
	Full bool
}

// Admin says whether the session is an administrator's.
func (k KS) Admin() bool { return k.Type >= 1 }

// Expired says whether the session is over at now.
func (k KS) Expired(now time.Time) bool { return k.Expiry <= now.Unix() }

// Privilege returns the value of the named privilege and whether the session has it.
// The privilege "*" reads as all:*.
func (k KS) Privilege(name string) (value string, ok bool) {
	for _, p := range splitPrivileges(k.Privileges) {
		if p.name == name {
			return p.value, true
		}
	}
	return "", false
}

type pair struct{ name, value string }

func splitPrivileges(text string) []pair {
	var out []pair
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		switch item {
		case "":
			continue
		case "*":
			item = "all:*"
		}
		name, value, _ := strings.Cut(item, ":")
		out = append(out, pair{name, value})
	}
	return out
}

// SignV1 writes a version 1 session string (contract §2.2).
func SignV1(secret string, k KS) (string, error) {
	if strings.ContainsAny(k.UserID+k.Privileges+k.Rand+k.MasterPartnerID, ";") {
		return "", fmt.Errorf("kaltura: user id and privileges of a version 1 session must not contain a semicolon")
	}
	if k.Rand == "" {
		n, err := rand.Int(rand.Reader, big.NewInt(32000))
		if err != nil {
			return "", err
		}
		k.Rand = n.String()
	}
	partner := strconv.Itoa(k.PartnerID)
	fields := []string{partner, partner, strconv.FormatInt(k.Expiry, 10), strconv.Itoa(k.Type), k.Rand, k.UserID, k.Privileges}
	if k.Full || k.MasterPartnerID != "" || k.AdditionalData != "" {
		fields = append(fields, k.MasterPartnerID, k.AdditionalData)
	}
	info := strings.Join(fields, ";")
	return base64.StdEncoding.EncodeToString([]byte(signatureV1(secret, info) + "|" + info)), nil
}

func signatureV1(secret, info string) string {
	sum := sha1.Sum([]byte(secret + info))
	return hex.EncodeToString(sum[:])
}

// SignV2 writes a version 2 session string (contract §2.3).
func SignV2(secret string, k KS) (string, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	return signV2(secret, k, random)
}

func signV2(secret string, k KS, random [16]byte) (string, error) {
	var q strings.Builder
	add := func(name, value string) {
		if q.Len() > 0 {
			q.WriteByte('&')
		}
		q.WriteString(url.QueryEscape(name) + "=" + url.QueryEscape(value))
	}
	for _, p := range splitPrivileges(k.Privileges) {
		add(p.name, p.value)
	}
	add("_e", strconv.FormatInt(k.Expiry, 10))
	add("_t", strconv.Itoa(k.Type))
	add("_u", k.UserID)
	if k.MasterPartnerID != "" {
		add("_m", k.MasterPartnerID)
	}
	if k.AdditionalData != "" {
		add("_d", k.AdditionalData)
	}
	body := append(random[:], q.String()...)
	sum := sha1.Sum(body)
	plain := append(sum[:], body...)
	if rest := len(plain) % aes.BlockSize; rest != 0 {
		plain = append(plain, make([]byte, aes.BlockSize-rest)...)
	}
	block, err := aes.NewCipher(keyV2(secret))
	if err != nil {
		return "", err
	}
	cipher.NewCBCEncrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(plain, plain)
	raw := append([]byte("v2|"+strconv.Itoa(k.PartnerID)+"|"), plain...)
	return base64.URLEncoding.EncodeToString(raw), nil
}

// keyV2 derives the AES-128 key: the first 16 bytes of the secret's SHA-1.
func keyV2(secret string) []byte {
	sum := sha1.Sum([]byte(secret))
	return sum[:16]
}

// ParseKS reads a session string of either version and checks its signature with
// the secrets that the caller gives for the partner named in it. It does not
// judge the expiry. Errors: ErrKSFormat, ErrKSSignature.
func ParseKS(text string, secrets func(partnerID int) []string) (KS, error) {
	if text == "" || len(text) > maxKS {
		return KS{}, ErrKSFormat
	}
	raw, err := base64.StdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(text))
	if err != nil {
		return KS{}, ErrKSFormat
	}
	if rest, ok := strings.CutPrefix(string(raw), "v2|"); ok {
		return parseV2(rest, secrets)
	}
	return parseV1(string(raw), secrets)
}

func parseV1(raw string, secrets func(int) []string) (KS, error) {
	signature, info, ok := strings.Cut(raw, "|")
	if !ok {
		return KS{}, ErrKSFormat
	}
	fields := strings.SplitN(info, ";", 9)
	if len(fields) < 3 {
		return KS{}, ErrKSFormat
	}
	field := func(i int) string {
		if i < len(fields) {
			return fields[i]
		}
		return ""
	}
	partner, err := strconv.Atoi(fields[0])
	if err != nil {
		return KS{}, ErrKSFormat
	}
	expiry, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return KS{}, ErrKSFormat
	}
	signed := false
	for _, secret := range secrets(partner) {
		if subtle.ConstantTimeCompare([]byte(signatureV1(secret, info)), []byte(signature)) == 1 {
			signed = true
		}
	}
	if !signed {
		return KS{}, ErrKSSignature
	}
	return KS{
		Version: 1, PartnerID: partner, Expiry: expiry, Type: int(leadingInt(field(3))), Rand: field(4), UserID: field(5),
		Privileges: field(6), MasterPartnerID: field(7), AdditionalData: field(8), Full: len(fields) == 9,
	}, nil
}

func parseV2(rest string, secrets func(int) []string) (KS, error) {
	id, ciphertext, ok := strings.Cut(rest, "|")
	if !ok || len(ciphertext)%aes.BlockSize != 0 || len(ciphertext) < sha1.Size+16 {
		return KS{}, ErrKSFormat
	}
	partner, err := strconv.Atoi(id)
	if err != nil {
		return KS{}, ErrKSFormat
	}
	for _, secret := range secrets(partner) {
		block, err := aes.NewCipher(keyV2(secret))
		if err != nil {
			return KS{}, err
		}
		plain := make([]byte, len(ciphertext))
		cipher.NewCBCDecrypter(block, make([]byte, aes.BlockSize)).CryptBlocks(plain, []byte(ciphertext))
		plain = []byte(strings.TrimRight(string(plain), "\x00"))
		if len(plain) < sha1.Size+16 {
			continue
		}
		sum := sha1.Sum(plain[sha1.Size:])
		if subtle.ConstantTimeCompare(sum[:], plain[:sha1.Size]) == 1 {
			return fieldsV2(partner, string(plain[sha1.Size+16:]))
		}
	}
	return KS{}, ErrKSSignature
}

func fieldsV2(partner int, query string) (KS, error) {
	k := KS{Version: 2, PartnerID: partner}
	var privileges []string
	for item := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(item, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil || err2 != nil {
			return KS{}, ErrKSFormat
		}
		switch name {
		case "":
		case "_e":
			expiry, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return KS{}, ErrKSFormat
			}
			k.Expiry = expiry
		case "_t":
			k.Type = int(leadingInt(value))
		case "_u":
			k.UserID = value
		case "_m":
			k.MasterPartnerID = value
		case "_d":
			k.AdditionalData = value
		default:
			if value != "" {
				name += ":" + value
			}
			privileges = append(privileges, name)
		}
	}
	k.Privileges = strings.Join(privileges, ",")
	return k, nil
}

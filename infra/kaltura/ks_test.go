package kaltura

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

const vectorSecret = "0123456789abcdef0123456789abcdef"

type ksVector struct {
	name, secret, text, random string
	ks                         KS
}

// ksVectors are the known-good strings of contract §2.6.
func ksVectors() []ksVector {
	return []ksVector{
		{
			name: "V1-A", secret: vectorSecret,
			ks:   KS{Version: 1, PartnerID: -5, Expiry: 1893456000, Type: 2, Rand: "12345", UserID: "MediaServer", Privileges: "disableentitlement"},
			text: "OTcyZmE3MjllYzcwMjE0NTZkNzEyNjMwNWY5NjRmMmZiYjc3OGExZnwtNTstNTsxODkzNDU2MDAwOzI7MTIzNDU7TWVkaWFTZXJ2ZXI7ZGlzYWJsZWVudGl0bGVtZW50",
		},
		{
			name: "V1-B", secret: "s3cr3t102",
			ks:   KS{Version: 1, PartnerID: 102, Expiry: 1767225600, Rand: "1420070400.1234", UserID: "user@example.com", Privileges: "edit:0_rkij47dr", Full: true},
			text: "ZmUxNDhjNjYyNmY2MmU3YzE4ZjVlYmNmY2ZkNDA3MjgyYjc2NjM1NXwxMDI7MTAyOzE3NjcyMjU2MDA7MDsxNDIwMDcwNDAwLjEyMzQ7dXNlckBleGFtcGxlLmNvbTtlZGl0OjBfcmtpajQ3ZHI7Ow==",
		},
		{
			name: "V2-A", secret: vectorSecret, random: "000102030405060708090a0b0c0d0e0f",
			ks:   KS{Version: 2, PartnerID: -5, Expiry: 1893456000, Type: 2, UserID: "MediaServer", Privileges: "disableentitlement"},
			text: "djJ8LTV8Yj89PhAqx_ZbgmviQU6UyP9tHG7CxLREFz5IVzKAm_cL2LXbKKFZbmpNyaAy8cRb0DwM-Vi5xP4dQKtym0ZhaXqCoks9RerYf2t1A6mRlfyZNWP4ubipXdEXPxof1hAJ",
		},
		{
			name: "V2-B", secret: "s3cr3t102", random: "ffeeddccbbaa99887766554433221100",
			ks: KS{Version: 2, PartnerID: 102, Expiry: 1893456000, Type: 2, UserID: "user@example.com",
				Privileges: "disableentitlement,sessionkey:kalturaWowzaPermanentSessionKey,sview:0_rkij47dr"},
			text: "djJ8MTAyfMqvtpkTB64tR5Lgo6siHKhMR3qxc-yAZ2xBOaUtQ12YsHYeJdEfk1SOqgA5SgPhPgLS_51NMfNxt23pdP0zimrjfihi6IMizBpmledHkE7clRtHnOoyYly_tWvq2hIOsNPsX5WBVmbWIbq8XeieAH2uaXfoTm0o5QQNGzXviYNoi9Yh5gmqRO9O5iK7_4w4RfXAtD89yRIPJlQcWOR1GVo=",
		},
		{
			name: "V2-C", secret: "UserSecret", random: "00000000000000000000000000000000",
			ks:   KS{Version: 2, PartnerID: 99, Expiry: 2000000000, Privileges: "all:*"},
			text: "djJ8OTl8uDCzAYoHyZgP_Ji9h71quUgzE3dNs3iI4UP9O6odcg6Dl1jbCeyAoa06YfK10vuVGGceAxjopbYzB6HPFSRf9GVO7ENFlEkBokF-MBRdqTY=",
		},
	}
}

func only(secrets ...string) func(int) []string {
	return func(int) []string { return secrets }
}

func TestKSVectors(t *testing.T) {
	for _, v := range ksVectors() {
		t.Run(v.name, func(t *testing.T) {
			got, err := ParseKS(v.text, only("another", v.secret))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(v.ks, got); diff != "" {
				t.Errorf("parsed session (-want +got):\n%s", diff)
			}
			var text string
			if v.ks.Version == 1 {
				text, err = SignV1(v.secret, v.ks)
			} else {
				var random [16]byte
				if _, err := hex.Decode(random[:], []byte(v.random)); err != nil {
					t.Fatal(err)
				}
				text, err = signV2(v.secret, v.ks, random)
			}
			if err != nil || text != v.text {
				t.Errorf("signed %q, %v; want %q", text, err, v.text)
			}
			if _, err := ParseKS(v.text, only("wrong")); !errors.Is(err, ErrKSSignature) {
				t.Errorf("another secret: got %v, want ErrKSSignature", err)
			}
			if _, err := ParseKS(v.text, only()); !errors.Is(err, ErrKSSignature) {
				t.Errorf("no secret: got %v, want ErrKSSignature", err)
			}
		})
	}
}

func TestKSPrivilegeStarMeansAll(t *testing.T) {
	text, err := signV2("UserSecret", KS{PartnerID: 99, Expiry: 2000000000, Privileges: " *, ,"}, [16]byte{})
	if err != nil || text != ksVectors()[4].text {
		t.Errorf("got %q, %v", text, err)
	}
	k := KS{Privileges: "*,sview:0_a:b"}
	if v, ok := k.Privilege("all"); v != "*" || !ok {
		t.Errorf("all = %q, %v", v, ok)
	}
	if v, ok := k.Privilege("sview"); v != "0_a:b" || !ok {
		t.Errorf("sview = %q, %v", v, ok)
	}
	if _, ok := k.Privilege("edit"); ok {
		t.Error("edit is not among the privileges")
	}
}

func TestKSRefusesMalformed(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "no base64": "%%%", "no pipe": "YWJj", "too few fields": "YXwxOzI=",
		"partner is no number": "YXx4O3g7MTs=", "expiry is no number": "YXwxOzE7eDs=",
		"v2 without ciphertext": "djJ8MTAyfA==", "v2 odd length": "djJ8MTAyfGFiYw==", "v2 without partner": "djJ8",
		"too long": strings.Repeat("A", maxKS+4),
	} {
		if _, err := ParseKS(text, only("s")); !errors.Is(err, ErrKSFormat) {
			t.Errorf("%s: got %v, want ErrKSFormat", name, err)
		}
	}
	if _, err := SignV1("s", KS{UserID: "a;b"}); err == nil {
		t.Error("a semicolon in the user id was signed")
	}
}

func TestKSRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-zA-Z0-9 @.&=+/%_*é-]{0,20}`)
		k := KS{
			PartnerID: rapid.IntRange(-6, 1<<30).Draw(t, "partner"),
			Expiry:    rapid.Int64Range(0, 1<<40).Draw(t, "expiry"),
			Type:      rapid.SampledFrom([]int{SessionUser, SessionAdmin}).Draw(t, "type"),
			UserID:    word.Draw(t, "user"),
		}
		var privileges []string
		for range rapid.IntRange(0, 4).Draw(t, "privileges") {
			p := rapid.StringMatching(`[a-z]{1,12}`).Draw(t, "name")
			if value := rapid.StringMatching(`[a-zA-Z0-9_:*/]{0,12}`).Draw(t, "value"); value != "" {
				p += ":" + value
			}
			privileges = append(privileges, p)
		}
		k.Privileges = strings.Join(privileges, ",")
		secret := rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "secret")
		for version, sign := range map[int]func(string, KS) (string, error){1: SignV1, 2: SignV2} {
			text, err := sign(secret, k)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseKS(text, only(secret))
			if err != nil {
				t.Fatalf("version %d: %v", version, err)
			}
			want := k
			want.Version = version
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(KS{}, "Rand")); diff != "" {
				t.Fatalf("version %d (-want +got):\n%s", version, diff)
			}
			if _, err := ParseKS(text, only(secret+"x")); !errors.Is(err, ErrKSSignature) {
				t.Fatalf("version %d: a wrong secret gave %v", version, err)
			}
		}
	})
}

func TestKSExpired(t *testing.T) {
	now := time.Unix(1000, 0)
	if !(KS{Expiry: 1000}).Expired(now) || (KS{Expiry: 1001}).Expired(now) {
		t.Error("a session is over from its expiry second on")
	}
}

func FuzzParseKS(f *testing.F) {
	for _, v := range ksVectors() {
		f.Add(v.text)
	}
	f.Add("djJ8MTAyfA==")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKS(text, only(vectorSecret, "s3cr3t102", "UserSecret"))
		if err != nil && !errors.Is(err, ErrKSFormat) && !errors.Is(err, ErrKSSignature) {
			t.Fatalf("unexpected error %v", err)
		}
		if err == nil && k.Version != 1 && k.Version != 2 {
			t.Fatalf("version %d", k.Version)
		}
	})
}

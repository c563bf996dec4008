package node

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"klive/infra/config"
	"klive/infra/kaltura"
	"klive/infra/live"
)

// bothSides is a node with its own control plane on sockets, and a client of it in each mode:
// the media server partner, which acts for others, and a partner of its own.
type bothSides struct {
	*testing.T
	server, own *kaltura.Client
}

func newBothSides(t *testing.T) *bothSides {
	t.Helper()
	settings := testSettings(t)
	const secret = "0123456789abcdef0123456789abcdef"
	settings.Control.Secret = config.Secret(secret)
	n, err := start(t, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close(context.Background()) })
	dial := func(partner int) *kaltura.Client {
		c, err := kaltura.NewClient(kaltura.ClientConfig{
			URL: "http://" + settings.Admin.Listen, PartnerID: partner, AdminSecret: secret, Hostname: "ms1.example.com", ByProfile: partner > 0,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	return &bothSides{t, dial(kaltura.MediaServerPartner), dial(DemoPartner)}
}

// lacks skips what the control plane of this release does not have.
func (b *bothSides) lacks(err error) {
	b.Helper()
	if kaltura.IsCode(err, kaltura.CodeNoService, kaltura.CodeNoAction) {
		b.Skipf("the control plane inside klive does not have it: %v", err)
	}
}

func (b *bothSides) code(err error, code string) {
	b.Helper()
	if !kaltura.IsCode(err, code) {
		b.Errorf("got %v, want %s", err, code)
	}
}

// profile is the conversion profile of the demo entry.
func (b *bothSides) profile() int {
	b.Helper()
	e, err := b.server.LiveStreamGet(b.Context(), DemoPartner, "0_demolive")
	if err != nil {
		b.Fatal(err)
	}
	return e.ConversionProfileID
}

// The ways to an entry's assets and ladder agree, in both modes (rows 38, 39, 62, 66).
func TestBothSidesOfTheLadder(t *testing.T) {
	b := newBothSides(t)
	passthrough := b.profile()
	cloud := passthrough + 1 // the default profiles are made in their order
	entry, err := b.own.LiveStreamAdd(t.Context(), DemoPartner, kaltura.NewEntry{Name: "cloud", ConversionProfileID: cloud})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		entry   string
		profile int
		suffix  string
		rungs   []int
	}{
		"passthrough":             {"0_demolive", passthrough, "1", []int{32}},
		"passthrough, the second": {"0_demolive", passthrough, "2", []int{36}},
		"cloud transcode":         {entry.ID, cloud, "1", []int{32, 33, 34, 35}},
	} {
		for mode, client := range map[string]*kaltura.Client{"media server": b.server, "own partner": b.own} {
			assets, err := client.LoadAssets(t.Context(), DemoPartner, c.profile, c.entry)
			if err != nil {
				t.Fatal(err)
			}
			document, err := client.Template(t.Context(), DemoPartner, c.entry+"_"+c.suffix, client.Hostname())
			if err != nil {
				t.Fatal(err)
			}
			template, err := kaltura.ParseTemplate(document, c.entry)
			if err != nil {
				t.Fatal(err)
			}
			assets.Complete(&template)
			profile, err := assets.Ladder(c.suffix)
			if err != nil {
				t.Fatal(err)
			}
			for from, ladder := range map[string]live.Ladder{"template": template, "profile": profile} {
				var ids []int
				for _, r := range ladder.Rungs {
					ids = append(ids, r.ParamsID)
					if r.AssetID == "" || !slices.ContainsFunc(ladder.Groups, func(g live.Group) bool { return g.Name == "all" && slices.Contains(g.Members, r.Name) }) {
						t.Errorf("%s, %s, %s: rung %+v", name, mode, from, r)
					}
				}
				if diff := cmp.Diff(c.rungs, ids); diff != "" {
					t.Errorf("%s, %s, %s (-want +got):\n%s", name, mode, from, diff)
				}
			}
			for i := range profile.Rungs {
				if diff := cmp.Diff(template.Rungs[i].Video, profile.Rungs[i].Video); diff != "" {
					t.Errorf("%s, %s: rung %d (-template +profile):\n%s", name, mode, i, diff)
				}
			}
		}
	}
	_, err = b.server.FlavorParamsByProfile(t.Context(), DemoPartner, cloud)
	b.code(err, kaltura.CodeForbidden) // contract §2.5: not for partner -5
	_, err = b.own.FlavorParamsByProfile(t.Context(), DemoPartner, 999)
	b.code(err, "CONVERSION_PROFILE_ID_NOT_FOUND")
}

// Files go up whole and in pieces, in both modes (row 152).
func TestBothSidesOfUploads(t *testing.T) {
	b := newBothSides(t)
	file := bytes.Repeat([]byte("klive"), 500_000)
	for mode, client := range map[string]*kaltura.Client{"media server": b.server, "own partner": b.own} {
		for _, piece := range []int64{1 << 20, 0} { // in pieces, whole
			got, err := client.Upload(t.Context(), DemoPartner, kaltura.UploadRequest{Name: "seg.mp4", Size: int64(len(file)), File: bytes.NewReader(file), Piece: piece})
			b.lacks(err)
			if err != nil || got.Status != kaltura.UploadFull || got.UploadedFileSize != int64(len(file)) || got.FileName != "seg.mp4" || got.PartnerID != DemoPartner {
				t.Errorf("%s, pieces of %d: %+v, %v", mode, piece, got, err)
			}
		}
	}
}

// The status reports: the media server partner's alone (rows 107 to 110).
func TestBothSidesOfStatus(t *testing.T) {
	b := newBothSides(t)
	first, err := b.server.ReportStatus(t.Context())
	if err != nil || first.Hostname != "ms1.example.com" || first.ID == 0 || first.CreatedAt == 0 {
		t.Errorf("%+v, %v", first, err)
	}
	if again, err := b.server.ReportStatus(t.Context()); err != nil || again.ID != first.ID || again.CreatedAt != first.CreatedAt {
		t.Errorf("%+v, %v", again, err)
	}
	_, err = b.own.ReportStatus(t.Context())
	b.code(err, kaltura.CodeForbidden)
	node, err := b.server.ReportServerNode(t.Context())
	b.lacks(err)
	if err != nil || node.HostName != "ms1.example.com" || node.Status == 0 {
		t.Errorf("%+v, %v", node, err)
	}
	if again, err := b.server.ReportServerNode(t.Context()); err != nil || again.ID != node.ID {
		t.Errorf("%+v, %v", again, err)
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"text/tabwriter"
	"time"

	"klive/infra/admin"
	"klive/infra/config"
	"klive/infra/kaltura"
	"klive/infra/node"
)

type entryCmd struct {
	List   entryListCmd   `cmd:"" help:"List the live entries."`
	Add    entryAddCmd    `cmd:"" help:"Add a live entry and print how to publish to it."`
	Show   entryShowCmd   `cmd:"" help:"Say where to publish to a live entry and where it plays."`
	Remove entryRemoveCmd `cmd:"" help:"Remove a live entry."`
}

// entryView is an entry as the commands print it.
type entryView struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Live bool   `json:"live"`
	admin.Addresses
	SRTPassphrase string `json:"srtPassphrase,omitempty"`
	Play          string `json:"playUrl"`
	// Note says what of the entry is not as it was asked for.
	Note string `json:"note,omitempty"`
}

// gatewayUnknown stands in an address for what a node of a deployment does not know.
const gatewayUnknown = "<gateway: set rtmp.publicUrl>"

// servers are the addresses of the gateways, to show to people. Those of a deployment with roles
// may be on any of its hosts.
func servers(c *config.Config) admin.Servers {
	s := node.Servers(c)
	if s.RTMP == "" && c.Bus.URL != "" {
		s.RTMP = "rtmp://" + gatewayUnknown + "/" + c.RTMP.App
	}
	return s
}

func viewEntry(c *config.Config, partner int, e *kaltura.LiveStreamEntry) entryView {
	return entryView{
		ID: e.ID, Name: e.Name, Live: e.LiveStatus == kaltura.StatusPlayable, SRTPassphrase: e.SRTPass,
		Addresses: servers(c).Of(admin.Entry{ID: e.ID, Partner: partner, Token: e.StreamPassword, SRTPassphrase: e.SRTPass}),
		Play:      node.PlayURL(c, e.ID),
	}
}

// apiClient talks to the API as the partner whose entries the commands manage.
func (g *global) apiClient() (client *kaltura.Client, c *config.Config, partner int, err error) {
	if c, _, err = g.settings(); err != nil {
		return nil, nil, 0, err
	}
	partner, secret, err := partnerSecret(c)
	if err != nil {
		return nil, nil, 0, err
	}
	url, err := apiURL(c)
	if err != nil {
		return nil, nil, 0, err
	}
	client, err = kaltura.NewClient(kaltura.ClientConfig{URL: url, PartnerID: partner, AdminSecret: secret, Timeout: c.Kaltura.Timeout})
	return client, c, partner, err
}

type entryListCmd struct{}

// pageSize is how many entries one call brings.
const pageSize = 200

// Run prints every live entry of the partner.
func (entryListCmd) Run(ctx context.Context, g *global) error {
	client, c, partner, err := g.apiClient()
	if err != nil {
		return err
	}
	defer client.Close()
	views := []entryView{}
	for page := 1; ; page++ {
		l, err := client.LiveStreamList(ctx, partner, kaltura.LiveStreamFilter{}, page, pageSize)
		if err != nil {
			return hint(c, err)
		}
		for i := range l.Objects {
			views = append(views, viewEntry(c, partner, &l.Objects[i]))
		}
		if len(l.Objects) < pageSize {
			break
		}
	}
	if g.JSON {
		return printJSON(os.Stdout, views)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ENTRY\tNAME\tLIVE\tTOKEN")
	for _, v := range views {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", v.ID, v.Name, yesNo(v.Live), v.Token)
	}
	return w.Flush()
}

type entryAddCmd struct {
	Name    string `arg:"" help:"The entry's name."`
	Token   string `help:"The token that encoders need; drawn when left out."`
	DVR     int    `placeholder:"MINUTES" help:"DVR window; 0 is none."`
	Profile int    `placeholder:"ID" help:"Conversion profile; the partner's default when left out."`
	Record  string `placeholder:"HOW" help:"Recording: none; append, all sessions of the entry to one VOD entry; session, one for each. The API's default when left out."`

	SRTPassphrase string `name:"srt-passphrase" placeholder:"TEXT" help:"What SRT callers have to encrypt with, 10 to 79 letters, digits or . _ ~ -; they don't when it is left out."`
}

// Run adds an entry.
func (a *entryAddCmd) Run(ctx context.Context, g *global) error {
	e, err := node.NewEntry(admin.NewEntry{Name: a.Name, Token: a.Token, DVR: a.DVR, Profile: a.Profile, Record: a.Record, SRTPassphrase: a.SRTPassphrase})
	if err != nil {
		return err
	}
	client, c, partner, err := g.apiClient()
	if err != nil {
		return err
	}
	defer client.Close()
	made, err := client.LiveStreamAdd(ctx, partner, e)
	if err != nil {
		return hint(c, err)
	}
	v := viewEntry(c, partner, made)
	if window := time.Duration(a.DVR) * time.Minute; window > c.DVR.MaxWindow {
		v.Note = fmt.Sprintf("the DVR window will be %v and not %v: dvr.maxWindow allows no more", c.DVR.MaxWindow, window)
	}
	if g.JSON {
		return printJSON(os.Stdout, v)
	}
	fmt.Printf("added %s\n\n", v.ID)
	v.print()
	return nil
}

// print writes the addresses of an entry: those of the protocols that are on.
func (v entryView) print() {
	for _, line := range []struct{ name, text string }{
		{"server", v.Server}, {"backup", v.Backup}, {"stream key", v.Key}, {"rtmps", v.RTMPS}, {"  backup", v.RTMPSBackup},
		{"srt", v.SRT}, {"  backup", v.SRTBackup}, {"push", v.Push}, {"  backup", v.PushBackup},
		{"whip", v.WHIP}, {"  backup", v.WHIPBackup}, {"bearer", v.bearer()}, {"play", v.Play}, {"passphrase", v.passphrase()}, {"note", v.Note},
	} {
		if line.text != "" {
			fmt.Printf("  %-10s  %s\n", line.name, line.text)
		}
	}
}

// passphrase is the entry's for SRT where its address has it in code: encoders that don't decode
// addresses, such as ffmpeg, take it apart from them.
func (v entryView) passphrase() string {
	if v.SRT == "" || node.UsablePassphrase(v.SRTPassphrase) {
		return ""
	}
	return v.SRTPassphrase + "  (for ffmpeg: -passphrase, and none in the address)"
}

// bearer is the token that WHIP publishers send; empty where there is no WHIP.
func (v entryView) bearer() string {
	if v.WHIP == "" {
		return ""
	}
	return v.Token
}

type entryShowCmd struct {
	ID string `arg:"" help:"The entry's id."`
}

// Run prints one entry.
func (s *entryShowCmd) Run(ctx context.Context, g *global) error {
	client, c, partner, err := g.apiClient()
	if err != nil {
		return err
	}
	defer client.Close()
	e, err := client.LiveStreamGet(ctx, partner, s.ID)
	if err != nil {
		return hint(c, err)
	}
	v := viewEntry(c, partner, e)
	if g.JSON {
		return printJSON(os.Stdout, v)
	}
	fmt.Printf("%s %s\n\n", v.ID, v.Name)
	v.print()
	return nil
}

type entryRemoveCmd struct {
	ID    string `arg:"" help:"The entry's id."`
	Force bool   `help:"Remove it even while it is on the air."`
}

// Run removes an entry.
func (r *entryRemoveCmd) Run(ctx context.Context, g *global) error {
	client, c, partner, err := g.apiClient()
	if err != nil {
		return err
	}
	defer client.Close()
	if e, err := client.LiveStreamGet(ctx, partner, r.ID); err != nil {
		return hint(c, err)
	} else if node.OnAir(e) && !r.Force {
		return fmt.Errorf("entry %s is on the air: stop its encoder first, or use --force", r.ID)
	}
	if err := r.remove(ctx, g, client, c, partner); err != nil {
		return hint(c, err)
	}
	if g.JSON {
		return printJSON(os.Stdout, map[string]string{"removed": r.ID})
	}
	fmt.Println("removed", r.ID)
	return nil
}

// remove asks klive itself where it keeps the entries: it knows what is being recorded.
func (r *entryRemoveCmd) remove(ctx context.Context, g *global, client *kaltura.Client, c *config.Config, partner int) error {
	if c.Kaltura.URL != "" {
		return client.LiveStreamDelete(ctx, partner, r.ID)
	}
	admin, err := g.adminClient()
	if err != nil {
		return err
	}
	path := "/v1/entries/" + url.PathEscape(r.ID)
	if r.Force {
		path += "?force=1"
	}
	return admin.ask(ctx, http.MethodDelete, path, nil, nil)
}

// hint adds what to do when the API does not answer.
func hint(c *config.Config, err error) error {
	var answer *kaltura.APIError
	switch {
	case !kaltura.Unavailable(err) || c.Kaltura.URL != "":
		return err
	case errors.As(err, &answer):
		return fmt.Errorf("%w; it runs, and %q says what it lacks", err, "klive health")
	default:
		return fmt.Errorf("%w; is %q running with this configuration?", err, "klive serve")
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"klive/infra/admin"
	"klive/infra/live"
)

type feedCmd struct {
	List feedListCmd `cmd:"" help:"List the streams that are on the air, and those that may come back."`
	Pin  feedPinCmd  `cmd:"" help:"Choose which of an entry's two encoders viewers see."`
	Kick feedKickCmd `cmd:"" help:"End a stream, wherever its encoder is connected."`
}

type feedListCmd struct{}

// Run prints every feed of the deployment.
func (feedListCmd) Run(ctx context.Context, g *global) error {
	client, err := g.adminClient()
	if err != nil {
		return err
	}
	var answer struct {
		Streams []admin.Stream `json:"streams"`
	}
	if err := client.get(ctx, "/v1/streams", &answer); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(os.Stdout, answer.Streams)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FEED\tSTATE\tINDEX\tHEALTH\tBITRATE\tPROTOCOL\tPEER\tGATEWAY")
	for i := range answer.Streams {
		s := &answer.Streams[i]
		index, health := s.Index, "-"
		if s.Pinned {
			index += ", pinned"
		}
		if s.Health != nil {
			health = fmt.Sprintf("%d %%", *s.Health)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.1f Mbit/s\t%s\t%s\t%s\n", s.Feed, s.State, index, health, float64(s.Bitrate)/1e6, s.Protocol, s.Peer, s.Gateway)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, note := range feedNotes(answer.Streams) {
		fmt.Println(note)
	}
	return nil
}

// feedNotes is what the list has no column for: what is wrong with a stream, and choices of encoders that send nothing.
func feedNotes(list []admin.Stream) (notes []string) {
	seen := map[string]bool{}
	for i := range list {
		s := &list[i]
		if s.Problem != "" {
			notes = append(notes, s.Feed+": "+s.Problem)
		}
		if note := rungNote(s); note != "" && s.State == admin.StateLive {
			notes = append(notes, s.Feed+": "+note)
		}
		if s.Preferred != "" && !seen[s.Entry] && !sends(list, s.Entry, s.Preferred) {
			notes = append(notes, fmt.Sprintf("%s: pinned to the %s, which sends nothing; %q takes that back", s.Entry, s.Preferred, "klive feed pin "+s.Entry+" auto"))
		}
		seen[s.Entry] = true
	}
	return notes
}

// rungNote names the rungs that lack some of the newest segments, and why the last of them does.
func rungNote(s *admin.Stream) string {
	var lacking []string
	why := ""
	for _, r := range s.Rungs {
		if r.Gaps > 0 {
			lacking = append(lacking, fmt.Sprintf("%s (%d of %d)", r.Rendition, r.Gaps, r.Segments))
			why = r.Reason
		}
	}
	if lacking == nil {
		return ""
	}
	return "of the newest segments gaps are in " + strings.Join(lacking, ", ") + strings.TrimSuffix(": "+why, ": ")
}

// sends reports whether one of an entry's encoders is there.
func sends(list []admin.Stream, entry, index string) bool {
	return slices.ContainsFunc(list, func(s admin.Stream) bool {
		return s.Entry == entry && s.Index == index && s.State != admin.StateGone && s.State != admin.StateSilent
	})
}

type feedPinCmd struct {
	Entry string `arg:"" help:"The live entry, or one of its feeds as the list shows it: 0_demolive."`
	Index string `arg:"" enum:"primary,backup,auto" help:"primary or backup; auto leaves the choice to klive again."`
}

// Run prefers one encoder of an entry, or none.
func (p *feedPinCmd) Run(ctx context.Context, g *global) error {
	entry := p.Entry
	if id, err := live.ParseFeedID(entry); err == nil {
		entry = id.Entry
	}
	if !live.ValidEntryID(entry) {
		return fmt.Errorf("%q: %w; %q shows those that are on the air", p.Entry, live.ErrEntryID, "klive feed list")
	}
	client, err := g.adminClient()
	if err != nil {
		return err
	}
	method, body := http.MethodDelete, []byte(nil)
	if p.Index != "auto" {
		method = http.MethodPut
		if body, err = json.Marshal(map[string]string{"index": p.Index}); err != nil {
			return err
		}
	}
	if err := client.ask(ctx, method, "/v1/entries/"+entry+"/pin", body, nil); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(os.Stdout, map[string]string{"entry": entry, "index": p.Index})
	}
	text, err := p.outcome(ctx, g, client, entry)
	if err != nil {
		return err
	}
	fmt.Println(text)
	return nil
}

// outcome says what follows from the choice.
func (p *feedPinCmd) outcome(ctx context.Context, g *global, client *adminClient, entry string) (string, error) {
	if p.Index == "auto" {
		c, _, err := g.settings()
		if err != nil {
			return "", err
		}
		if c.Failover.Return == "manual" {
			return entry + ": the encoder that viewers see now, until it fails (failover.return is manual)", nil
		}
		return entry + ": the primary while it is healthy, else the backup", nil
	}
	var answer struct {
		Streams []admin.Stream `json:"streams"`
	}
	if err := client.get(ctx, "/v1/streams/"+entry, &answer); err != nil {
		return "", fmt.Errorf("the %s of %s is chosen; what it does now can't be asked: %w", p.Index, entry, err)
	}
	if !sends(answer.Streams, entry, p.Index) {
		return fmt.Sprintf("%s: the %s as soon as it sends; now it sends nothing, and viewers see the other one", entry, p.Index), nil
	}
	return fmt.Sprintf("%s: the %s while it sends, as soon as a keyframe of it fits", entry, p.Index), nil
}

type feedKickCmd struct {
	Feed   string `arg:"" help:"The feed, as the list shows it: 0_demolive.0.1."`
	Reason string `default:"ended by an operator" help:"What the encoder's operator is told."`
}

// Run ends one feed.
func (k *feedKickCmd) Run(ctx context.Context, g *global) error {
	id, err := live.ParseFeedID(k.Feed)
	if err != nil {
		return fmt.Errorf("%w; %q shows those that there are", err, "klive feed list")
	}
	client, err := g.adminClient()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"reason": k.Reason})
	if err != nil {
		return err
	}
	if err := client.ask(ctx, http.MethodPost, "/v1/feeds/"+url.PathEscape(id.String())+"/kick", body, nil); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(os.Stdout, map[string]string{"kicked": id.String()})
	}
	fmt.Println("ended", id)
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"text/tabwriter"
	"time"

	"klive/infra/admin"
)

type recordingCmd struct {
	List  recordingListCmd  `cmd:"" help:"List recorded files, those that wait for an operator first."`
	Retry recordingRetryCmd `cmd:"" help:"Hand a file to Kaltura once more: the recording does not have it."`
	Skip  recordingSkipCmd  `cmd:"" help:"Leave a file out: the recording has it already, or shall not have it."`
	Split recordingSplitCmd `cmd:"" help:"Let what is recorded from now on go into the next file (splitRecordingNow)."`
}

type recordingListCmd struct {
	Entry string `arg:"" optional:"" help:"The files of one entry alone."`
}

// Run prints the recorded files.
func (l *recordingListCmd) Run(ctx context.Context, g *global) error {
	client, err := g.adminClient()
	if err != nil {
		return err
	}
	var answer struct {
		Recordings []admin.Recording `json:"recordings"`
		VODs       []admin.VOD       `json:"vods"`
		More       bool              `json:"more"`
	}
	if err := client.get(ctx, "/v1/recordings?entry="+url.QueryEscape(l.Entry), &answer); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(os.Stdout, answer)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ENTRY\tFILE\tSTATE\tSTART\tDURATION\tSIZE\tREASON")
	for i := range answer.Recordings {
		r := &answer.Recordings[i]
		length := time.Duration(r.Duration * float64(time.Second)).Round(time.Millisecond)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%v\t%.1f MB\t%s\n", r.Entry, r.File, r.State, r.Start.Format(time.DateTime), length, float64(r.Bytes)/1e6, r.Reason)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if answer.More {
		fmt.Println("… and more; name an entry to see its files")
	}
	return nil
}

// fileArgs name a recorded file.
type fileArgs struct {
	Entry string `arg:"" help:"The entry: 0_rkij47dr."`
	File  string `arg:"" help:"The file, as the list shows it: 0_abcdefgh.0_3."`
}

type recordingRetryCmd struct{ fileArgs }

// Run asks for a file to be appended again.
func (a *recordingRetryCmd) Run(ctx context.Context, g *global) error {
	return order(ctx, g, "retry", a.Entry, a.File)
}

type recordingSkipCmd struct{ fileArgs }

// Run asks for a file to be left out.
func (a *recordingSkipCmd) Run(ctx context.Context, g *global) error {
	return order(ctx, g, "skip", a.Entry, a.File)
}

type recordingSplitCmd struct {
	Entry string `arg:"" help:"The entry: 0_rkij47dr."`
}

// Run asks for a split.
func (a *recordingSplitCmd) Run(ctx context.Context, g *global) error {
	return order(ctx, g, "split", a.Entry, "")
}

// order passes on what an operator decides. The entry's recorder obeys within seconds.
func order(ctx context.Context, g *global, kind, entry, file string) error {
	client, err := g.adminClient()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"file": file})
	if err != nil {
		return err
	}
	var answer map[string]string
	if err := client.ask(ctx, http.MethodPost, "/v1/recordings/"+url.PathEscape(entry)+"/"+kind, body, &answer); err != nil {
		return err
	}
	if g.JSON {
		return printJSON(os.Stdout, answer)
	}
	fmt.Println("ordered:", kind, entry, file)
	return nil
}

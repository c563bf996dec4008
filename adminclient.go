package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"klive/infra/node"
)

// adminClient asks the klive that runs on this host under this configuration.
type adminClient struct {
	base, token string
}

// maxAnswer bounds what the admin listener may answer.
const maxAnswer = 64 << 20

func (g *global) adminClient() (*adminClient, error) {
	c, _, err := g.settings()
	if err != nil {
		return nil, err
	}
	if c.Admin.Listen == "" {
		return nil, errors.New("admin.listen is empty: the klive of this configuration can't be asked")
	}
	return &adminClient{base: "http://" + node.Dialable(c.Admin.Listen), token: c.Admin.Token.Reveal()}, nil
}

// call makes one request and returns the answer, whatever its status.
func (a *adminClient) call(ctx context.Context, method, path string, body []byte) (status int, text []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if a.token != "" {
		r.Header.Set("Authorization", "Bearer "+a.token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, fmt.Errorf("nothing answers at %s; does klive run here, under this configuration? (%w)", a.base, err)
	}
	defer res.Body.Close()
	text, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, text, err
}

// ask is call for an answer in JSON; an answer that says no is an error in its words.
func (a *adminClient) ask(ctx context.Context, method, path string, body []byte, into any) error {
	status, text, err := a.call(ctx, method, path, body)
	if err != nil {
		return err
	}
	if status == http.StatusUnauthorized {
		return fmt.Errorf("the klive at %s does not take the admin token of this configuration: set admin.token (KLIVE_ADMIN_TOKEN) to its own", a.base)
	}
	if status/100 != 2 {
		var problem struct {
			Detail string `json:"detail"`
		}
		if json.Unmarshal(text, &problem) != nil || problem.Detail == "" {
			problem.Detail = http.StatusText(status)
		}
		return errors.New(problem.Detail)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

func (a *adminClient) get(ctx context.Context, path string, into any) error {
	return a.ask(ctx, http.MethodGet, path, nil, into)
}

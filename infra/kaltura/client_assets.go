package kaltura

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"klive/infra/live"
)

// Assets is what the API knows of an entry's outputs.
type Assets struct {
	Profile []ProfileAssetParams
	Live    []LiveAsset
	// Params are the outputs' settings by flavorParamsId.
	Params map[int]LiveParams
}

// HasSuffix says whether the entry has an asset that is ingested under the stream
// suffix, "1" or the like (contract §6.3). It may have one whose settings could not be read.
func (a *Assets) HasSuffix(suffix string) bool {
	for _, asset := range a.Live {
		if p, ok := a.Params[asset.FlavorParamsID]; !ok || p.StreamSuffix == suffix {
			return true
		}
	}
	return false
}

// Complete fills a ladder's asset ids and tags in, which the template does not carry.
func (a *Assets) Complete(l *live.Ladder) {
	for i := range l.Rungs {
		for _, asset := range a.Live {
			if asset.FlavorParamsID == l.Rungs[i].ParamsID && asset.Status != AssetDeleted {
				l.Rungs[i].AssetID, l.Rungs[i].Tags = asset.ID, asset.TagList()
			}
		}
	}
}

// LoadAssets reads an entry's profile and assets in one multirequest, then the settings
// it does not know yet (contract §6.2, §9.10). Settings that can't be read are left out, and
// the log says so.
func (c *Client) LoadAssets(ctx context.Context, partnerID, profileID int, entryID string) (*Assets, error) {
	form := url.Values{}
	sub := func(n, service, class, property, value string) {
		form.Set(n+":service", service)
		form.Set(n+":action", "list")
		form.Set(n+":filter:objectType", class)
		form.Set(n+":filter:"+property, value)
		addPager(form, n+":", 1, 500)
	}
	sub("1", "conversionProfileAssetParams", "KalturaConversionProfileAssetParamsFilter", "conversionProfileIdEqual", strconv.Itoa(profileID))
	sub("2", "flavorAsset", "KalturaLiveAssetFilter", "entryIdEqual", entryID)
	v := invocation{service: "multirequest", partner: partnerID, form: form, repeatable: true}
	var profile List[ProfileAssetParams]
	var assets List[LiveAsset]
	err := c.withSession(ctx, v, func(a answer) error { return v.readMulti(a, &profile, &assets) })
	if err != nil {
		return nil, err
	}
	out := &Assets{Profile: profile.Objects, Live: assets.Objects, Params: map[int]LiveParams{}}
	c.loadParams(ctx, partnerID, profileID, out)
	return out, nil
}

// loadParams reads the settings of the assets and of the profile.
func (c *Client) loadParams(ctx context.Context, partnerID, profileID int, into *Assets) {
	if c.byProfile {
		all, err := c.FlavorParamsByProfile(ctx, partnerID, profileID)
		if err != nil {
			c.log.Warn("flavor params can't be read by their profile (kaltura.flavorParams: profile); they are read one by one", "profile", profileID, "error", err)
		}
		for _, p := range all {
			into.Params[p.ID] = p
		}
	}
	ids := make([]int, 0, len(into.Live)+len(into.Profile))
	for _, a := range into.Live {
		ids = append(ids, a.FlavorParamsID)
	}
	for _, p := range into.Profile {
		ids = append(ids, p.AssetParamsID)
	}
	for _, id := range ids {
		if _, known := into.Params[id]; known {
			continue
		}
		p, err := c.flavorParams(ctx, partnerID, id)
		if err != nil {
			c.log.Warn("flavor params can't be read", "flavorParamsId", id, "error", err)
			if Unavailable(err) {
				return
			}
			continue
		}
		into.Params[id] = p
	}
}

// readMulti reads the results of a multirequest; the first error among them is the
// error of all.
func (v *invocation) readMulti(a answer, results ...any) error {
	n, err := v.readJSON(a)
	if err != nil {
		return err
	}
	bad := func(reason string) error {
		return &AnswerError{Call: v.name(), Status: http.StatusOK, ContentType: a.header.Get("Content-Type"), Reason: reason}
	}
	if n.Kind != KindArray || len(n.Items) != len(results) {
		return bad("it does not hold one result for each call")
	}
	for i, dst := range results {
		if e := apiErrorOf(n.Items[i]); e != nil {
			return e
		}
		if err := n.Items[i].Decode(dst); err != nil {
			return bad(err.Error())
		}
	}
	return nil
}

// FlavorParamsList reads all settings the partner may use and remembers them.
func (c *Client) FlavorParamsList(ctx context.Context, partnerID int) ([]LiveParams, error) {
	form := url.Values{}
	addPager(form, "", 1, 500)
	var l List[LiveParams]
	err := c.call(ctx, invocation{service: "flavorParams", action: "list", partner: partnerID, form: form, repeatable: true}, &l)
	for _, p := range l.Objects {
		c.params.put(p)
	}
	return l.Objects, err
}

// ConversionProfileList reads one page of a partner's profiles for live entries; pages count from
// 1, pageSize is at most 500.
func (c *Client) ConversionProfileList(ctx context.Context, partnerID, pageIndex, pageSize int) (List[ConversionProfile], error) {
	form := url.Values{"filter:objectType": {"KalturaConversionProfileFilter"}, "filter:typeEqual": {ProfileTypeLive}}
	addPager(form, "", pageIndex, pageSize)
	var l List[ConversionProfile]
	err := c.call(ctx, invocation{service: "conversionProfile", action: "list", partner: partnerID, form: form, repeatable: true}, &l)
	return l, err
}

// ProfileTypeLive is the type of profiles for live streams (KalturaConversionProfileType).
const ProfileTypeLive = "2"

// FlavorParamsByProfile reads the settings of a profile's outputs and remembers them (contract
// §3.9). Kaltura lets a partner do so, not the media server partner.
func (c *Client) FlavorParamsByProfile(ctx context.Context, partnerID, profileID int) ([]LiveParams, error) {
	form := url.Values{"conversionProfileId": {strconv.Itoa(profileID)}}
	var all []LiveParams
	err := c.call(ctx, invocation{service: "flavorParams", action: "getByConversionProfileId", partner: partnerID, form: form, repeatable: true}, &all)
	for _, p := range all {
		c.params.put(p)
	}
	return all, err
}

func (c *Client) flavorParams(ctx context.Context, partnerID, id int) (LiveParams, error) {
	if p, ok := c.params.get(id); ok {
		return p, nil
	}
	var p LiveParams
	form := url.Values{"id": {strconv.Itoa(id)}}
	err := c.call(ctx, invocation{service: "flavorParams", action: "get", partner: partnerID, form: form, repeatable: true}, &p)
	if err == nil {
		c.params.put(p)
	}
	return p, err
}

const (
	// paramsFresh is how long settings are remembered, paramsMost how many.
	paramsFresh = 10 * time.Minute
	paramsMost  = 1000
)

type cachedParams struct {
	params LiveParams
	read   time.Time
}

// paramsCache remembers flavor params: they are many entries' and hardly ever change.
type paramsCache struct {
	// mu guards the fields below.
	mu   sync.Mutex
	byID map[int]cachedParams
}

func (p *paramsCache) get(id int) (LiveParams, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.byID[id]
	return c.params, ok && time.Since(c.read) < paramsFresh
}

func (p *paramsCache) put(lp LiveParams) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.byID) >= paramsMost {
		clear(p.byID)
	}
	p.byID[lp.ID] = cachedParams{lp, time.Now()}
}

// addForm writes an object in the colon notation (contract §1.3); null properties are
// left out.
func addForm(form url.Values, prefix string, n Node) {
	switch n.Kind {
	case KindNull:
	case KindObject:
		if n.Class != "" {
			form.Set(prefix+":objectType", n.Class)
		}
		for _, m := range n.Members {
			addForm(form, prefix+":"+m.Name, m.Value)
		}
	case KindArray:
		if len(n.Items) == 0 {
			form.Set(prefix+":-", "")
		}
		for i, item := range n.Items {
			addForm(form, prefix+":"+strconv.Itoa(i), item)
		}
	default:
		form.Set(prefix, n.Text)
	}
}

func addPager(form url.Values, prefix string, index, size int) {
	form.Set(prefix+"pager:objectType", "KalturaFilterPager")
	form.Set(prefix+"pager:pageSize", strconv.Itoa(size))
	form.Set(prefix+"pager:pageIndex", strconv.Itoa(index))
}

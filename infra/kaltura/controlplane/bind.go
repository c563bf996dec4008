package controlplane

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"klive/infra/kaltura"
)

// enumerated is implemented by parameter types that take a closed set of values.
type enumerated interface {
	// values names the enumeration and its values as they stand on the wire.
	values(g Generation) (class string, all []string)
}

// bind fills the parameter struct that dst points to from a call's parameters and files.
//
// Fields are tagged api:"name", api:"name,optional" or api:"name,default=text"; fields
// without option are mandatory. Struct fields and kaltura.Node fields take structures,
// slices take arrays, *incoming takes a file, the rest scalars (contract §1.3).
func bind(params kaltura.Node, files map[string]*incoming, dst any, g Generation) error {
	v := reflect.ValueOf(dst).Elem()
	t := v.Type()
	for i := range t.NumField() {
		name, option, _ := strings.Cut(t.Field(i).Tag.Get("api"), ",")
		if t.Field(i).Type == reflect.TypeFor[*incoming]() {
			f := files[name]
			if f == nil {
				return missing(name)
			}
			v.Field(i).Set(reflect.ValueOf(f))
			continue
		}
		value, ok := params.Get(name)
		if !ok || value.Kind == kaltura.KindNull {
			text, hasDefault := strings.CutPrefix(option, "default=")
			switch {
			case option == "":
				return missing(name)
			case !hasDefault:
				continue
			}
			value = kaltura.TextNode(text)
		}
		if err := bindField(v.Field(i), value, name, g); err != nil {
			return err
		}
	}
	return nil
}

func missing(name string) error {
	return fail(kaltura.CodeMissingParameter, "parameter "+name+" is required", "PARAM_NAME", name)
}

func bindField(v reflect.Value, value kaltura.Node, name string, g Generation) error {
	if err := checkChars(value, name); err != nil {
		return err
	}
	structure := v.Kind() == reflect.Struct || v.Kind() == reflect.Slice
	if structure == value.Scalar() {
		return wrongFormat(name, v)
	}
	if e, ok := v.Interface().(enumerated); ok {
		var err error
		if value, err = checkEnum(e, value, name, g); err != nil {
			return err
		}
	}
	holder := reflect.New(v.Type())
	if err := value.Decode(holder.Interface()); err != nil {
		return decodeFailure(err)
	}
	v.Set(holder.Elem())
	return nil
}

func wrongFormat(name string, v reflect.Value) error {
	format := "string"
	switch v.Kind() {
	case reflect.Slice:
		format = "array"
	case reflect.Struct:
		format = "object"
	}
	return fail("PROPERTY_VALIDATION_WRONG_FORMAT", "parameter "+name+" must be of format "+format, "PROP_NAME", name, "FORMAT", format)
}

// decodeFailure turns a structure mismatch into the API's error.
func decodeFailure(err error) error {
	var f *kaltura.FormatError
	if errors.As(err, &f) {
		return fail("PROPERTY_VALIDATION_WRONG_FORMAT", "property "+f.Property+" must be of format "+f.Format,
			"PROP_NAME", f.Property, "FORMAT", f.Format)
	}
	return err
}

func checkEnum(e enumerated, value kaltura.Node, name string, g Generation) (kaltura.Node, error) {
	switch {
	case strings.EqualFold(value.Text, "true"):
		value.Text = "1"
	case strings.EqualFold(value.Text, "false"):
		value.Text = "0"
	}
	class, all := e.values(g)
	if !slices.Contains(all, value.Text) {
		return value, fail("INVALID_ENUM_VALUE", "parameter "+name+" must be one of "+strings.Join(all, ", "),
			"ENUM_VAL", value.Text, "PARAM_NAME", name, "ENUM_TYPE", class)
	}
	return value, nil
}

// checkChars refuses text that no XML answer could carry.
func checkChars(n kaltura.Node, name string) error {
	for _, r := range n.Text {
		if !kaltura.ValidXMLChar(r) {
			return fail("INVALID_PARAMETER_CHAR", "parameter "+name+" holds a control character", "XML_FIELD", name)
		}
	}
	for _, m := range n.Members {
		if err := checkChars(m.Value, m.Name); err != nil {
			return err
		}
	}
	for _, item := range n.Items {
		if err := checkChars(item, name); err != nil {
			return err
		}
	}
	return nil
}

// serverIndex is KalturaMediaServerIndex, now KalturaEntryServerNodeType.
type serverIndex int

func (serverIndex) values(g Generation) (string, []string) {
	if g == Generation2015 {
		return "KalturaMediaServerIndex", []string{"0", "1"}
	}
	return "KalturaEntryServerNodeType", []string{"0", "1", "2"}
}

// nodeStatus is KalturaEntryServerNodeStatus.
type nodeStatus int

func (nodeStatus) values(g Generation) (string, []string) {
	class := "KalturaEntryServerNodeStatus"
	if g == Generation2015 {
		class = "KalturaLiveEntryStatus"
	}
	return class, []string{"-1", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
}

// serverNodeStatus is KalturaServerNodeStatus.
type serverNodeStatus int

func (serverNodeStatus) values(Generation) (string, []string) {
	return "KalturaServerNodeStatus", []string{"1", "2", "3", "4", "5"}
}

// playbackProtocol is KalturaPlaybackProtocol.
type playbackProtocol string

func (playbackProtocol) values(g Generation) (string, []string) {
	all := []string{
		"http", "rtmp", "sl", "applehttp", "rtsp", "auto", "hds", "hls", "hdnetworkmanifest", "hdnetwork", "mpegdash", "multicast_silverlight",
	}
	if g != Generation2015 {
		all = append(all, "applehttp_to_mc", "url", "download")
	}
	return "KalturaPlaybackProtocol", all
}

// sessionType is KalturaSessionType.
type sessionType int

func (sessionType) values(Generation) (string, []string) {
	return "KalturaSessionType", []string{"0", "2"}
}

// sourceType is KalturaSourceType, held to what this server can stream.
type sourceType string

func (sourceType) values(Generation) (string, []string) {
	return "KalturaSourceType", []string{kaltura.SourceLiveStream, kaltura.SourceLiveOnText}
}

// pager is KalturaFilterPager.
type pager struct {
	PageSize  int `json:"pageSize"`
	PageIndex int `json:"pageIndex"`
}

// page cuts the page that p names out of all: pages count from 1, hold 30 objects
// unless told otherwise and never more than 500.
func page[T any](all []T, p pager) []T {
	size := p.PageSize
	if size <= 0 {
		size = 30
	}
	size = min(size, 500)
	index := max(p.PageIndex, 1)
	if index-1 > len(all)/size {
		return nil
	}
	from := min((index-1)*size, len(all))
	return all[from:min(from+size, len(all))]
}

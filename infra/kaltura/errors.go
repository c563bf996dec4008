package kaltura

import (
	"errors"
	"fmt"
)

// APIError is an error answer of the API. Clients decide by its code; the text is for
// people. Its text never shows the arguments, because INVALID_KS names the session in one.
type APIError struct {
	Code    string
	Message string
	Args    []Arg
}

// Arg is one argument of an API error.
type Arg struct{ Name, Value string }

func (e *APIError) Error() string {
	if e.Message == "" {
		return "Kaltura API: " + e.Code
	}
	return "Kaltura API: " + e.Code + ": " + e.Message
}

// Arg returns the named argument, or "".
func (e *APIError) Arg(name string) string {
	for _, a := range e.Args {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// IsCode says whether err is, or wraps, an API error with one of the codes.
func IsCode(err error, codes ...string) bool {
	var e *APIError
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if e.Code == code {
			return true
		}
	}
	return false
}

// IsAPIError says whether err is, or wraps, an error answer of the API.
func IsAPIError(err error) bool { return errors.As(err, new(*APIError)) }

// Codes that callers act on (contract §1.7, §3).
const (
	CodeEntryNotFound       = "ENTRY_ID_NOT_FOUND"
	CodeInvalidToken        = "LIVE_STREAM_INVALID_TOKEN"
	CodeAlreadyBroadcasting = "LIVE_STREAM_ALREADY_BROADCASTING"
	CodeExceededPassThrough = "LIVE_STREAM_EXCEEDED_MAX_PASSTHRU"
	CodeExceededTranscoded  = "LIVE_STREAM_EXCEEDED_MAX_TRANSCODED"
	CodeExceededAdminTag    = "LIVE_STREAM_EXCEEDED_MAX_CONCURRENT_BY_ADMIN_TAG"
	CodeContentBlocked      = "SERVICE_FORBIDDEN_CONTENT_BLOCKED"
	CodeForbidden           = "SERVICE_FORBIDDEN"
	CodeInvalidKS           = "INVALID_KS"
	CodeMissingKS           = "MISSING_KS"
	CodeMissingParameter    = "MISSING_MANDATORY_PARAMETER"
	CodeIngestNotInProfile  = "INGEST_NOT_FOUND_IN_CONVERSION_PROFILE"
	CodeInvalidStreamName   = "INVALID_STREAM_NAME"
	CodeServerNodeNotFound  = "MEDIA_SERVER_NOT_FOUND"
	CodeEntryNodeNotFound   = "ENTRY_SERVER_NODE_NOT_FOUND"
	CodeNodeNotFound        = "SERVER_NODE_NOT_FOUND"
	CodeUploadTokenNotFound = "UPLOAD_TOKEN_NOT_FOUND"
	CodeNoService           = "SERVICE_DOES_NOT_EXISTS" // spelt so on the wire, as the next
	CodeNoAction            = "ACTION_DOES_NOT_EXISTS"
	CodeInternal            = "INTERNAL_SERVERL_ERROR" // spelt so on the wire
	CodeInternalDatabase    = "INTERNAL_DATABASE_ERROR"
)

// knownCodes are the codes of the contract that a media server's calls can bring, by which
// calls are counted.
func knownCodes() []string {
	return []string{
		CodeEntryNotFound, CodeInvalidToken, CodeAlreadyBroadcasting, CodeExceededPassThrough, CodeExceededTranscoded,
		CodeContentBlocked, CodeForbidden, CodeInvalidKS, CodeMissingKS, CodeMissingParameter, CodeIngestNotInProfile,
		CodeInvalidStreamName, CodeServerNodeNotFound, CodeEntryNodeNotFound, CodeInternal, CodeInternalDatabase,
		CodeNoService, CodeNoAction, CodeNodeNotFound, CodeUploadTokenNotFound,
		CodeExceededAdminTag, CodeRecordingFull, "LIVE_STREAM_STATUS_CANNOT_BE_DETERMINED",
		"SERVICE_NOT_SPECIFIED", "ACTION_NOT_SPECIFIED", "INVALID_ENUM_VALUE", "INVALID_PARAMETER_CHAR", "OBJECT_TYPE_ABSTRACT",
		"PROPERTY_VALIDATION_CANNOT_BE_NULL", "PROPERTY_VALIDATION_WRONG_FORMAT", "ACCESS_UNAUTHORIZED", "USER_BLOCKED", "ACTION_BLOCKED",
		"INVALID_PARTNER_ID", "UNKNOWN_PARTNER_ID", "UNKNOWN_RESPONSE_FORMAT", "START_SESSION_ERROR", "INVALID_ENTRY_ID", CodeAssetNotFound,
		"LOCAL_FILE_NOT_FOUND", CodeRecordingElsewhere, "KALTURA_RECORDING_DISABLED", "FLAVOR_PARAMS_ID_NOT_FOUND", "CONVERSION_PROFILE_ID_NOT_FOUND",
		"UPLOAD_TOKEN_INVALID_STATUS_FOR_UPLOAD", CodeUploadTokenNotFull, "UPLOADED_FILE_NOT_FOUND_BY_TOKEN", "UPLOAD_ERROR", "UPLOAD_TOKEN_CANNOT_RESUME",
	}
}

// TransportError says that a call got no answer: no connection, a broken one, or none
// in time. Whether the server acted on the call is unknown.
type TransportError struct {
	// Call is service.action.
	Call string
	Err  error
}

func (e *TransportError) Error() string {
	return fmt.Sprintf("Kaltura API does not answer %s: %v; check kaltura.url and the way to it", e.Call, e.Err)
}

func (e *TransportError) Unwrap() error { return e.Err }

// AnswerError says that something answered a call, but not as the API does: an HTTP
// error status, a web page, half a document, too much of it.
type AnswerError struct {
	Call        string
	Status      int
	ContentType string
	Reason      string
}

func (e *AnswerError) Error() string {
	return fmt.Sprintf("Kaltura API: %s was answered with HTTP status %d, content type %q: %s; check kaltura.url and what stands in front of the API",
		e.Call, e.Status, e.ContentType, e.Reason)
}

// Unavailable says whether err means that the API is out of order, as opposed to an
// answer that says no: a gateway may then stand on a grant it holds.
func Unavailable(err error) bool {
	var transport *TransportError
	var answer *AnswerError
	return errors.Is(err, ErrRefused) || errors.As(err, &transport) || errors.As(err, &answer) || IsCode(err, CodeInternal, CodeInternalDatabase)
}

// Node makes the error's wire form: the object that JSON answers consist of, and that
// stands in an error element in XML.
func (e *APIError) Node() Node {
	args := Node{Kind: KindArray}
	if len(e.Args) > 0 {
		args = Node{Kind: KindObject}
		for _, a := range e.Args {
			args.Members = append(args.Members, Member{Name: a.Name, Value: TextNode(a.Value)})
		}
	}
	return Node{Kind: KindObject, Members: []Member{
		{Name: "code", Value: TextNode(e.Code)},
		{Name: "message", Value: TextNode(e.Message)},
		{Name: "objectType", Value: TextNode("KalturaAPIException")},
		{Name: "args", Value: args},
	}}
}

// AppendXML appends the error element of an XML answer (contract §1.7). argClass is
// KalturaApiExceptionArg, or KalturaAPIExceptionArg as servers of 2015 spell it.
func (e *APIError) AppendXML(b []byte, argClass string) []byte {
	text := func(name, value string) {
		b = append(b, "<"+name+">"...)
		b = AppendXMLText(b, value)
		b = append(b, "</"+name+">"...)
	}
	b = append(b, "<error>"...)
	text("code", e.Code)
	text("message", e.Message)
	text("objectType", "KalturaAPIException")
	b = append(b, "<args>"...)
	for _, a := range e.Args {
		b = append(b, "<item>"...)
		text("objectType", argClass)
		text("name", a.Name)
		text("value", a.Value)
		b = append(b, "</item>"...)
	}
	return append(b, "</args></error>"...)
}

// apiErrorOf reads an error from an answer: any object with both code and message
// (contract §1.7), also inside result.error. It returns nil when the node is none.
func apiErrorOf(n Node) *APIError {
	if inner := n.Path("result:error"); inner.Kind == KindObject {
		n = inner
	}
	code, message := n.Path("code"), n.Path("message")
	if n.Kind != KindObject || !code.Scalar() || code.Text == "" || !message.Scalar() {
		return nil
	}
	e := &APIError{Code: code.Text, Message: message.Text}
	args, _ := n.Get("args")
	for _, m := range args.Members {
		e.Args = append(e.Args, Arg{m.Name, m.Value.Text})
	}
	for _, item := range args.Items {
		if name := item.Path("name"); name.Text != "" {
			e.Args = append(e.Args, Arg{name.Text, item.Path("value").Text})
		}
	}
	return e
}

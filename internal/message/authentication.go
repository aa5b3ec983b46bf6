package message

import "strings"

// AuthenticationResults is an Authentication-Results field (RFC 8601): what one
// mail server found out about the sender.
type AuthenticationResults struct {
	AuthservID string
	Results    []AuthenticationResult
}

// AuthenticationResult is the result of one method.
type AuthenticationResult struct {
	// Method and Result are in lower case: "dkim", "pass".
	Method, Result string
	Reason         string
	// Properties are what was looked at: "header.d" is "example.com".
	Properties map[string]string
}

const (
	// maxAuthentication bounds the fields of a header that are read.
	maxAuthentication = 50
	// maxResults bounds the results of a field, and maxProperties the
	// properties of a result.
	maxResults    = 50
	maxProperties = 50
)

// Authentication gives the Authentication-Results fields of the header in their
// order: each server puts its own on top (RFC 8601 section 4). What is malformed
// in them is left out.
func (h Header) Authentication() []AuthenticationResults {
	var all []AuthenticationResults
	for i := range h.Fields {
		if !strings.EqualFold(h.Fields[i].Name, "Authentication-Results") || len(all) == maxAuthentication {
			continue
		}
		if a, ok := parseAuthentication(h.Fields[i].Raw); ok {
			all = append(all, a)
		}
	}
	return all
}

// parseAuthentication reads authserv-id [version] *(";" resinfo) (RFC 8601
// section 2.2).
func parseAuthentication(raw string) (a AuthenticationResults, ok bool) {
	s := paramScanner{rest: raw}
	// An authserv-id that is quoted keeps its quotes off; its version is "1".
	id, _, _ := strings.Cut(strings.TrimSpace(s.until(";")), " ")
	a.AuthservID = DecodeHeaderText(strings.Trim(id, `"`))
	if a.AuthservID == "" || strings.Contains(a.AuthservID, "=") {
		return a, false // Some leave it out; then nobody knows whose results these are.
	}
	for s.rest != "" && len(a.Results) < maxResults {
		s.rest = s.rest[1:] // The semicolon.
		if r, ok := s.result(); ok {
			a.Results = append(a.Results, r)
		}
	}
	return a, true
}

// result reads methodspec [reasonspec] *propspec, up to the semicolon.
func (s *paramScanner) result() (r AuthenticationResult, ok bool) {
	for {
		name, value, ok := s.assignment()
		if !ok {
			break
		}
		switch {
		case r.Method == "":
			// "dkim/1": the method may have a version.
			method, _, _ := strings.Cut(strings.ToLower(name), "/")
			r.Method, r.Result = strings.TrimSpace(method), strings.ToLower(value)
		case strings.EqualFold(name, "reason"):
			r.Reason = value
		case len(r.Properties) < maxProperties:
			if r.Properties == nil {
				r.Properties = make(map[string]string)
			}
			r.Properties[strings.ToLower(name)] = value
		}
	}
	// "none" alone says that nothing was checked.
	return r, r.Method != "" && r.Result != ""
}

// assignment reads name "=" value. ok is false at the end of a result.
func (s *paramScanner) assignment() (name, value string, ok bool) {
	name = s.until("=;")
	if !strings.HasPrefix(s.rest, "=") {
		return "", "", false
	}
	s.rest = strings.TrimLeft(s.rest[1:], " \t")
	if strings.HasPrefix(s.rest, `"`) {
		if text, rest, closed := quotedString(s.rest); closed {
			s.rest = rest
			return cleanText(removeBlanks(name)), DecodeHeaderText(text), true
		}
	}
	// A value ends at a blank or a comment; the next name begins behind it.
	end := strings.IndexAny(s.rest, " \t;(")
	if end < 0 {
		end = len(s.rest)
	}
	value, s.rest = s.rest[:end], s.rest[end:]
	return cleanText(removeBlanks(name)), DecodeHeaderText(strings.Trim(value, `"`)), true
}

// removeBlanks: RFC 8601 section 2.2 allows blanks around the dot of a property
// and the slash of a version.
func removeBlanks(s string) string { return strings.Join(strings.Fields(s), "") }

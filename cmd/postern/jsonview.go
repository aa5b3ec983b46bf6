package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// jsonValue is JSON as it came, its members in their order, so that a page of
// it can be shortened for people without looking like something else.
type jsonValue struct {
	open    json.Delim // '{', '[', or 0 for a plain value
	members []jsonMember
	text    string // a plain value as it stands in the text
}

// jsonMember is a member of an object, or an element of an array, which has no
// name.
type jsonMember struct {
	name  string // quoted
	value jsonValue
}

// wanted names the members of an object that are to be kept; each with what to
// keep of its own members, nil for all.
type wanted map[string]wanted

// parseJSON reads one JSON value.
func parseJSON(text []byte) (jsonValue, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	v, err := readJSON(decoder)
	if errors.Is(err, io.EOF) {
		return jsonValue{}, io.ErrUnexpectedEOF
	}
	return v, err
}

func readJSON(decoder *json.Decoder) (jsonValue, error) {
	token, err := decoder.Token()
	if err != nil {
		return jsonValue{}, err
	}
	open, nested := token.(json.Delim)
	if !nested {
		text, err := plainJSON(token)
		return jsonValue{text: text}, err
	}
	v := jsonValue{open: open}
	for decoder.More() {
		var member jsonMember
		if open == '{' {
			token, err := decoder.Token()
			if err != nil {
				return jsonValue{}, err
			}
			if member.name, err = plainJSON(token); err != nil {
				return jsonValue{}, err
			}
		}
		if member.value, err = readJSON(decoder); err != nil {
			return jsonValue{}, err
		}
		v.members = append(v.members, member)
	}
	_, err = decoder.Token() // the closing bracket
	return v, err
}

// plainJSON writes a plain value as JSON, without the escapes that HTML needs.
func plainJSON(value any) (string, error) {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// keep leaves out what is not wanted. The elements of an array are treated
// alike.
func (v jsonValue) keep(w wanted) jsonValue {
	if w == nil || v.open == 0 {
		return v
	}
	kept := jsonValue{open: v.open}
	for _, member := range v.members {
		inner := w
		if v.open == '{' {
			var ok bool
			if inner, ok = w[strings.Trim(member.name, `"`)]; !ok {
				continue
			}
		}
		kept.members = append(kept.members, jsonMember{name: member.name, value: member.value.keep(inner)})
	}
	return kept
}

// layout gives the lines of a value within a width, on the first of which a
// label stands already: one line if it fits. An object without a label whose
// members fit fills its lines with them; else each has lines of its own.
func (s *screen) layout(v jsonValue, label, width int) []string {
	if label+v.width() <= width || len(v.members) == 0 {
		return []string{s.flat(v)}
	}
	tooLong := func(m jsonMember) bool { return m.width()+2 > width }
	if label == 0 && v.open == '{' && !slices.ContainsFunc(v.members, tooLong) {
		return s.fill(v, width)
	}
	lines := []string{v.open.String()}
	for i, member := range v.members {
		inner := s.layout(member.value, member.nameWidth(), width-2)
		inner[0] = s.label(member) + inner[0]
		if i < len(v.members)-1 {
			inner[len(inner)-1] += ","
		}
		for _, line := range inner {
			lines = append(lines, "  "+line)
		}
	}
	return append(lines, v.end())
}

// fill writes the members of an object one behind the other, as many a line as
// fit.
func (s *screen) fill(v jsonValue, width int) []string {
	var lines []string
	line, used := "{", 1
	for i, member := range v.members {
		piece, needed := s.label(member)+s.flat(member.value), member.width()+1
		if i == len(v.members)-1 {
			piece += "}"
		} else {
			piece += ","
		}
		if i > 0 && used+1+needed > width {
			lines = append(lines, line)
			line, used = "", 0
		}
		if i > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+piece, used+needed
	}
	return append(lines, line)
}

// flat writes a value on one line.
func (s *screen) flat(v jsonValue) string {
	if v.open == 0 {
		return v.text
	}
	parts := make([]string, len(v.members))
	for i, member := range v.members {
		parts[i] = s.label(member) + s.flat(member.value)
	}
	return v.open.String() + strings.Join(parts, ", ") + v.end()
}

// label is a member's name, faint beside its value.
func (s *screen) label(m jsonMember) string {
	if m.name == "" {
		return ""
	}
	return s.styled(styleNote, m.name+":") + " "
}

func (v jsonValue) end() string {
	if v.open == '{' {
		return "}"
	}
	return "]"
}

// unstyled measures.
var unstyled = &screen{}

func (v jsonValue) width() int { return utf8.RuneCountInString(unstyled.flat(v)) }

func (m jsonMember) width() int { return m.nameWidth() + m.value.width() }

func (m jsonMember) nameWidth() int { return utf8.RuneCountInString(unstyled.label(m)) }

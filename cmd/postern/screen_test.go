package main

import (
	"strings"
	"testing"
)

func TestJSONLayout(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		text  string
		width int
		want  string
	}{
		"fits":            {`{"a":1,"b":[true,null]}`, 40, `{"a": 1, "b": [true, null]}`},
		"keeps the order": {`{"z":1,"a":2}`, 40, `{"z": 1, "a": 2}`},
		"keeps numbers":   {`[1e3,12345678901234567890]`, 40, `[1e3, 12345678901234567890]`},
		"keeps text":      {`"<ä>\u0001"`, 40, `"<ä>\u0001"`},
		"empty":           {`[{},[]]`, 3, "[\n  {},\n  []\n]"},
		"fills":           {`{"a":"bcd","e":"fgh","i":"jkl"}`, 24, "{\"a\": \"bcd\", \"e\": \"fgh\",\n \"i\": \"jkl\"}"},
		"breaks":          {`{"a":["bcd","efg","hij"]}`, 16, "{\n  \"a\": [\n    \"bcd\",\n    \"efg\",\n    \"hij\"\n  ]\n}"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := parseJSON([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(unstyled.layout(v, 0, c.width), "\n"); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	for _, text := range []string{"", "{", `{"a"`, `[1,`, "x"} {
		if _, err := parseJSON([]byte(text)); err == nil {
			t.Errorf("%q was read as JSON", text)
		}
	}
}

func TestJSONKeep(t *testing.T) {
	t.Parallel()
	v, err := parseJSON([]byte(`{"list":[{"a":1,"b":{"c":2,"d":3}},{"b":{"d":4}}],"e":5}`))
	if err != nil {
		t.Fatal(err)
	}
	got := unstyled.flat(v.keep(wanted{"list": {"a": nil, "b": {"d": nil}}}))
	if want := `{"list": [{"a": 1, "b": {"d": 3}}, {"b": {"d": 4}}]}`; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
}

func TestStyleOnTerminalsOnly(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	s := newScreen(&out, func(string) string { return "" })
	s.step(1, "title", "request")
	if got, want := out.String(), "\n1  title\n   request\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	s.colour = true
	if got, want := s.styled(styleTitle, "x"), "\x1b[1mx\x1b[0m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

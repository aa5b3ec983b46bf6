package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parse(t *testing.T, text string) object {
	t.Helper()
	var o object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	return o
}

func TestNamedPath(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path, want string
		names      map[string]string
	}{
		"collection": {"/v1/accounts", "/v1/accounts", map[string]string{}},
		"resource": {"/v1/accounts/{name}", "/v1/accounts/{account}",
			map[string]string{"name": "account"}},
		"field of the body": {"/v1/accounts/{account.name}", "/v1/accounts/{account}",
			map[string]string{"account.name": "account"}},
		"nested, with a verb": {"/v1/accounts/{name}/messages/{name_1}:raw", "/v1/accounts/{account}/messages/{message}:raw",
			map[string]string{"name": "account", "name_1": "message"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, names := namedPath(tc.path)
			if got != tc.want {
				t.Errorf("got path %q, want %q", got, tc.want)
			}
			if diff := cmp.Diff(tc.names, names); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNameParametersJoinsFormsOfAPath(t *testing.T) {
	t.Parallel()
	doc := parse(t, `{"paths": {
		"/v1/accounts/{name}": {"get": {"parameters": [{"in": "path", "name": "name"}, {"in": "query", "name": "name"}]}},
		"/v1/accounts/{account.name}": {"patch": {"parameters": [{"in": "path", "name": "account.name"}]}}}}`)
	if err := nameParameters(doc); err != nil {
		t.Fatal(err)
	}
	want := parse(t, `{"paths": {"/v1/accounts/{account}": {
		"get": {"parameters": [
			{"in": "path", "name": "account", "description": "The id of the account."},
			{"in": "query", "name": "name"}]},
		"patch": {"parameters": [{"in": "path", "name": "account", "description": "The id of the account."}]}}}}`)
	if diff := cmp.Diff(want, doc); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
}

func TestNameParametersRefusesTwoOperationsInOnePlace(t *testing.T) {
	t.Parallel()
	doc := parse(t, `{"paths": {"/v1/accounts/{name}": {"get": {}}, "/v1/accounts/{parent}": {"get": {}}}}`)
	if err := nameParameters(doc); err == nil {
		t.Error("got no error")
	}
}

// The cases are from the table of RFC 7396 appendix A that have an object on
// both sides.
func TestMergePatch(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ target, patch, want string }{
		"replaces":          {`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		"adds":              {`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		"removes":           {`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		"replaces an array": {`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		"goes down":         {`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		"makes objects":     {`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := mergePatch(parse(t, tc.target), parse(t, tc.patch))
			if diff := cmp.Diff(parse(t, tc.want), got); diff != "" {
				t.Errorf("merged (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const whole = `{"operationId": "A", "responses": {}, "summary": "s", "tags": ["t"]}`
	for name, tc := range map[string]struct{ doc, want string }{
		"whole":              {`{"paths": {"/a": {"get": ` + whole + `}}}`, ""},
		"half an operation":  {`{"paths": {"/a": {"get": {"responses": {}, "summary": "s", "tags": ["t"]}}}}`, "get /a has no operationId"},
		"reference to a gap": {`{"paths": {}, "x": [{"$ref": "#/components/schemas/a"}]}`, "#/components/schemas/a is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := check(parse(t, tc.doc))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("got error %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got error %v, want %q", err, tc.want)
			}
		})
	}
}

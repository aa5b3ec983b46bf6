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

// The body of an update may be any part of the resource.
func TestPartialUpdates(t *testing.T) {
	t.Parallel()
	ref := func(name string) object { return object{"$ref": "#/components/schemas/" + name} }
	patch := func(name string) object {
		return object{"patch": object{"requestBody": object{"content": object{"application/json": object{"schema": ref(name)}}}}}
	}
	doc := object{
		"paths": object{"/a": patch("A"), "/b": patch("B"), "/c": object{"get": object{}}},
		"components": object{"schemas": object{
			"A": object{"required": []any{"b"}, "properties": object{"b": ref("B"), "c": ref("C"), "required": object{"type": "string"}}},
			"B": object{"properties": object{"a": object{"items": ref("A")}}},
			"C": object{"properties": object{}},
		}},
	}
	if err := partialUpdates(doc); err != nil {
		t.Fatal(err)
	}
	schemas := at(doc, "components", "schemas")
	a := at(schemas, "A.Partial")
	if a["required"] != nil || at(schemas, "A")["required"] == nil || at(a, "properties", "required") == nil {
		t.Errorf("A is %v, in part %v", schemas["A"], a)
	}
	for name, got := range map[string]any{
		"B.Partial": at(a, "properties", "b")["$ref"], "C": at(a, "properties", "c")["$ref"],
		"A.Partial": at(schemas, "B.Partial", "properties", "a", "items")["$ref"],
	} {
		if got != "#/components/schemas/"+name {
			t.Errorf("refers to %v, want %s", got, name)
		}
	}
	if got := at(doc, "paths", "/b", "patch", "requestBody", "content", "application/json", "schema")["$ref"]; got != "#/components/schemas/B.Partial" {
		t.Errorf("the update of b takes %v", got)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

const schemaPrefix = "#/components/schemas/"

// partialUpdates gives the bodies of PATCH requests schemas of their own, in
// which nothing is required: what the update mask leaves out need not be there.
func partialUpdates(doc object) error {
	p := partials{schemas: at(doc, "components", "schemas"), made: make(map[string]string)}
	for path, item := range at(doc, "paths") {
		schema := at(item.(object), "patch", "requestBody", "content", "application/json", "schema")
		ref, ok := schema["$ref"].(string)
		if !ok {
			continue
		}
		to, err := p.of(strings.TrimPrefix(ref, schemaPrefix))
		if err != nil {
			return fmt.Errorf("patch %s: %w", path, err)
		}
		schema["$ref"] = schemaPrefix + to
	}
	return nil
}

// partials makes variants of schemas in which nothing is required.
type partials struct {
	schemas object
	made    map[string]string
}

// of gives the name of the variant, which is that of the schema itself where
// nothing is required of it anyway.
func (p partials) of(name string) (string, error) {
	if to := p.made[name]; to != "" {
		return to, nil
	}
	if !p.requires(name, make(map[string]bool)) {
		p.made[name] = name
		return name, nil
	}
	to := name + ".Partial"
	p.made[name] = to
	content, err := json.Marshal(p.schemas[name])
	if err != nil {
		return "", err
	}
	var variant object
	if err := json.Unmarshal(content, &variant); err != nil {
		return "", err
	}
	if err := p.loosen(variant); err != nil {
		return "", err
	}
	p.schemas[to] = variant
	return to, nil
}

// requires reports whether a schema, or one that it refers to, has a field that
// must be there.
func (p partials) requires(name string, seen map[string]bool) bool {
	if seen[name] {
		return false
	}
	seen[name] = true
	schema, _ := p.schemas[name].(object)
	if schema["required"] != nil {
		return true
	}
	for ref := range references(schema) {
		if p.requires(strings.TrimPrefix(ref, schemaPrefix), seen) {
			return true
		}
	}
	return false
}

func (p partials) loosen(v any) error {
	switch v := v.(type) {
	case object:
		if _, ok := v["required"].([]any); ok { // and not a field of that name
			delete(v, "required")
		}
		if ref, ok := v["$ref"].(string); ok {
			to, err := p.of(strings.TrimPrefix(ref, schemaPrefix))
			if err != nil {
				return err
			}
			v["$ref"] = schemaPrefix + to
		}
		for _, below := range v {
			if err := p.loosen(below); err != nil {
				return err
			}
		}
	case []any:
		for _, below := range v {
			if err := p.loosen(below); err != nil {
				return err
			}
		}
	}
	return nil
}

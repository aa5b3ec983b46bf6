package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

func TestTemplatesOverREST(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	id := freshID()
	path := "/v1/templates/" + id
	content := object{"displayName": "Welcome", "subject": "Hi {{.name}}", "text": "Dear {{.name}}", "html": "<p>{{.name}}</p>"}
	made := h.do(t, http.MethodPost, "/v1/templates?templateId="+id, content, "Idempotency-Key", id).ok(t)
	if made["name"] != "templates/"+id || made["subject"] != "Hi {{.name}}" || made["etag"] == "" || made["createTime"] == nil {
		t.Errorf("made %v", made)
	}
	again := h.do(t, http.MethodPost, "/v1/templates?templateId="+id, content, "Idempotency-Key", id).ok(t)
	if fmt.Sprint(again) != fmt.Sprint(made) {
		t.Errorf("again %v", again)
	}
	h.do(t, http.MethodPost, "/v1/templates?templateId="+id, content).refused(t, http.StatusConflict, "TEMPLATE_EXISTS")
	h.do(t, http.MethodPost, "/v1/templates?templateId="+id, object{"text": "x"}, "Idempotency-Key", id).refused(t, http.StatusBadRequest, "REQUEST_ID_REUSED")

	changed := h.do(t, http.MethodPatch, path, object{"text": "New {{.name}}", "etag": made["etag"]}).ok(t)
	if changed["text"] != "New {{.name}}" || changed["html"] != "<p>{{.name}}</p>" || changed["etag"] == made["etag"] {
		t.Errorf("changed %v", changed)
	}
	h.do(t, http.MethodPatch, path, object{"text": "x", "etag": made["etag"]}).refused(t, http.StatusConflict, "ETAG_MISMATCH")
	h.do(t, http.MethodPatch, path+"?updateMask=html", object{}).ok(t)
	h.do(t, http.MethodPatch, path+"?updateMask=text,html", object{}).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
	got := h.get(t, path+"?readMask=text,html")
	if got["text"] != "New {{.name}}" || got["name"] != "" || got["createTime"] != nil {
		t.Errorf("got %v", got)
	}
	h.do(t, http.MethodDelete, path+"?etag=other", nil).refused(t, http.StatusConflict, "ETAG_MISMATCH")
	h.do(t, http.MethodDelete, path, nil).ok(t)
	h.do(t, http.MethodGet, path, nil).refused(t, http.StatusNotFound, "TEMPLATE_NOT_FOUND")
	h.do(t, http.MethodDelete, path, nil).refused(t, http.StatusNotFound, "TEMPLATE_NOT_FOUND")
	h.do(t, http.MethodPost, "/v1/templates?templateId="+id, content, "Idempotency-Key", id).refused(t, http.StatusBadRequest, "REQUEST_ID_REUSED")
}

func TestTemplatesThatCannotBe(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	for name, test := range map[string]struct {
		content                     object
		reason, field, line, column string
	}{
		"neither text nor HTML": {object{"subject": "x"}, "ARGUMENT_INVALID", "template.text", "", ""},
		"a syntax error":        {object{"text": "a\nb {{if}}"}, "TEMPLATE_INVALID", "template.text", "2", "3"},
		"ambiguous HTML":        {object{"html": "<a href='{{if .a}}/x?{{end}}{{.b}}'>"}, "TEMPLATE_INVALID", "template.html", "1", "31"},
		"recursion":             {object{"text": `{{template "text"}}`}, "TEMPLATE_INVALID", "template.text", "1", ""},
		"a function":            {object{"text": "x", "subject": `{{printf "%9999d" 1}}`}, "TEMPLATE_INVALID", "template.subject", "1", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := h.do(t, http.MethodPost, "/v1/templates", test.content)
			metadata, _ := a.refused(t, http.StatusBadRequest, test.reason)["metadata"].(object)
			if !strings.Contains(string(a.body), `"`+test.field+`"`) {
				t.Errorf("no violation of %s: %s", test.field, a.body)
			}
			for key, want := range map[string]string{"line": test.line, "column": test.column} {
				if got, _ := metadata[key].(string); want != "" && got != want {
					t.Errorf("%s %q, want %q: %s", key, got, want, a.body)
				}
			}
		})
	}
	h.do(t, http.MethodPost, "/v1/templates?templateId=-x", object{"text": "x"}).refused(t, http.StatusBadRequest, "ARGUMENT_INVALID")
}

func TestTemplatesOverGRPC(t *testing.T) {
	t.Parallel()
	h := sharedHouse(t)
	client := posternv1.NewTemplateServiceClient(h.grpc)
	ctx := asAdmin(t.Context())
	prefix := freshID()
	var want []string
	for i := range 3 {
		made, err := client.CreateTemplate(ctx, &posternv1.CreateTemplateRequest{
			TemplateId: fmt.Sprint(prefix, i), Template: &posternv1.Template{Text: "x", DisplayName: prefix},
		})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, made.GetName())
	}
	// Other tests have templates, too.
	var got []string
	for req := (&posternv1.ListTemplatesRequest{PageSize: 2, ReadMask: &fieldmaskpb.FieldMask{Paths: []string{"name", "display_name"}}}); ; {
		page, err := client.ListTemplates(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.GetTemplates()) > 2 {
			t.Errorf("%d templates on a page of 2", len(page.GetTemplates()))
		}
		for _, one := range page.GetTemplates() {
			if one.GetDisplayName() == prefix && one.GetText() == "" {
				got = append(got, one.GetName())
			}
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	unnamed, err := client.CreateTemplate(ctx, &posternv1.CreateTemplateRequest{Template: &posternv1.Template{Html: "<b>{{.x}}</b>"}, RequestId: prefix})
	if err != nil || len(unnamed.GetName()) < len("templates/")+16 {
		t.Fatalf("%v, %v", unnamed, err)
	}
	_, err = client.UpdateTemplate(ctx, &posternv1.UpdateTemplateRequest{Template: &posternv1.Template{Name: unnamed.GetName(), Html: "{{end}}"}})
	if reasonOf(status.Convert(err)) != "TEMPLATE_INVALID" {
		t.Errorf("updated: %v", err)
	}
	read, err := client.GetTemplate(ctx, &posternv1.GetTemplateRequest{Name: unnamed.GetName()})
	if err != nil || read.GetHtml() != "<b>{{.x}}</b>" {
		t.Errorf("%v, %v", read, err)
	}
}

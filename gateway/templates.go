package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
	"github.com/postern-mail/postern/internal/requestid"
	"github.com/postern-mail/postern/internal/template"
)

// templateService implements TemplateService.
type templateService struct {
	posternv1.UnimplementedTemplateServiceServer
	templates *template.Store
	requests  *requestid.Store
	pager     pager
}

var templateFields = (&posternv1.Template{}).ProtoReflect().Descriptor()

// settableTemplate are the fields that an update may change.
var settableTemplate = []string{"display_name", "subject", "text", "html"}

func templateID(name string) string { return strings.TrimPrefix(name, "templates/") }

func templateProto(t *template.Stored) *posternv1.Template {
	return &posternv1.Template{
		Name: "templates/" + t.ID, DisplayName: t.DisplayName,
		Subject: t.Content.Subject, Text: t.Content.Text, Html: t.Content.HTML,
		CreateTime: timeProto(t.CreateTime), UpdateTime: timeProto(t.UpdateTime), Etag: t.Etag,
	}
}

// applyTemplate sets what can be set of a template.
func applyTemplate(t *template.Stored, in *posternv1.Template) {
	t.DisplayName = in.GetDisplayName()
	t.Content = template.Content{Subject: in.GetSubject(), Text: in.GetText(), HTML: in.GetHtml()}
}

// CreateTemplate implements TemplateService.
func (s *templateService) CreateTemplate(ctx context.Context, req *posternv1.CreateTemplateRequest) (*posternv1.Template, error) {
	in := req.GetTemplate()
	if in.GetText() == "" && in.GetHtml() == "" {
		return nil, refuseField("template.text", reasonArgumentInvalid, "The template has neither text nor html: give one, or both.")
	}
	id := req.GetTemplateId()
	if id == "" {
		id = strings.ToLower(rand.Text()[:16])
	}
	attempt, err := s.requests.Begin(ctx, "CreateTemplate", req.GetRequestId(), contentOf(req), id)
	if err != nil {
		return nil, err
	}
	if attempt.Outcome != "" {
		return s.created(ctx, attempt.Outcome)
	}
	wanted := &template.Stored{ID: attempt.Plan}
	applyTemplate(wanted, in)
	made, err := s.templates.Create(ctx, wanted)
	if attempt.Repeated && errors.Is(err, template.ErrExists) {
		// The first attempt died after it had made it, or somebody else was faster.
		if made, err = s.templates.Get(ctx, wanted.ID); err == nil && (made.Content != wanted.Content || made.DisplayName != wanted.DisplayName) {
			err = fmt.Errorf("template %s: %w", wanted.ID, template.ErrExists)
		}
	}
	if err != nil {
		return nil, refuseTemplate("template", fmt.Errorf("create template: %w", err))
	}
	// Without this note a repetition finds the template by its id.
	_ = attempt.Finish(ctx, made.ID)
	return templateProto(made), nil
}

// created is the template that an earlier attempt has made, as it is now.
func (s *templateService) created(ctx context.Context, id string) (*posternv1.Template, error) {
	made, err := s.templates.Get(ctx, id)
	if errors.Is(err, template.ErrNotFound) {
		return nil, fmt.Errorf("the template has been deleted since it was created: %w", requestid.ErrReused)
	}
	if err != nil {
		return nil, err
	}
	return templateProto(made), nil
}

// GetTemplate implements TemplateService.
func (s *templateService) GetTemplate(ctx context.Context, req *posternv1.GetTemplateRequest) (*posternv1.Template, error) {
	paths, err := readPaths(req.GetReadMask(), templateFields, "read_mask")
	if err != nil {
		return nil, err
	}
	t, err := s.templates.Get(ctx, templateID(req.GetName()))
	if err != nil {
		return nil, err
	}
	out := templateProto(t)
	keep(out, paths)
	return out, nil
}

// ListTemplates implements TemplateService.
func (s *templateService) ListTemplates(ctx context.Context, req *posternv1.ListTemplatesRequest) (*posternv1.ListTemplatesResponse, error) {
	paths, err := readPaths(req.GetReadMask(), templateFields, "read_mask")
	if err != nil {
		return nil, err
	}
	after, err := s.pager.position(req)
	if err != nil {
		return nil, err
	}
	templates, more, err := s.templates.List(ctx, string(after), pageSize(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	resp := &posternv1.ListTemplatesResponse{}
	for _, t := range templates {
		out := templateProto(t)
		keep(out, paths)
		resp.Templates = append(resp.Templates, out)
	}
	if more {
		resp.NextPageToken, err = s.pager.token(req, []byte(templates[len(templates)-1].ID))
	}
	return resp, err
}

// UpdateTemplate implements TemplateService.
func (s *templateService) UpdateTemplate(ctx context.Context, req *posternv1.UpdateTemplateRequest) (*posternv1.Template, error) {
	in := req.GetTemplate()
	paths, err := updatePaths(req.GetUpdateMask(), in, settableTemplate)
	if err != nil {
		return nil, err
	}
	updated, err := s.templates.Update(ctx, templateID(in.GetName()), in.GetEtag(), func(t *template.Stored) error {
		settings := templateProto(t)
		for _, path := range paths {
			overwrite(settings.ProtoReflect(), in.ProtoReflect(), path)
		}
		applyTemplate(t, settings)
		if t.Content.Text == "" && t.Content.HTML == "" {
			return refuseField("template.text", reasonArgumentInvalid, "The template would have neither text nor html left.")
		}
		return nil
	})
	if err != nil {
		return nil, refuseTemplate("template", fmt.Errorf("update template: %w", err))
	}
	return templateProto(updated), nil
}

// DeleteTemplate implements TemplateService.
func (s *templateService) DeleteTemplate(ctx context.Context, req *posternv1.DeleteTemplateRequest) (*emptypb.Empty, error) {
	if err := s.templates.Delete(ctx, templateID(req.GetName()), req.GetEtag()); err != nil {
		return nil, fmt.Errorf("delete template: %w", err)
	}
	return &emptypb.Empty{}, nil
}

package gateway

import (
	"errors"
	"strconv"

	"google.golang.org/grpc/codes"

	"github.com/postern-mail/postern/internal/template"
)

// classifyTemplates knows the errors of stored templates. What is wrong with a
// template itself is told where the field is known that has it.
func classifyTemplates(err error) *failure {
	switch {
	case errors.Is(err, template.ErrNotFound):
		return refuse(codes.NotFound, reasonTemplateNotFound, "There is no such template.").because(err)
	case errors.Is(err, template.ErrExists):
		return refuse(codes.AlreadyExists, reasonTemplateExists, "There is a template with this id already: choose another one.").because(err)
	case errors.Is(err, template.ErrEtagMismatch):
		return refuse(codes.Aborted, reasonEtagMismatch,
			"Somebody else has changed the template meanwhile: get it again, and repeat the change with its new etag.").because(err)
	}
	return nil
}

// refuseTemplate makes the failure of a template that cannot be parsed, which a field
// of the request has. Other errors stay as they are.
func refuseTemplate(field string, err error) error {
	var syntax *template.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	part := syntax.Part
	if part == "url" {
		part = "unsubscribe.url"
	}
	f := refuseField(field+"."+part, reasonTemplateInvalid, "The template cannot be understood: %s.", said(syntax.Error()))
	return f.at(syntax.Line, syntax.Column)
}

// refuseFilling makes the failure of a template that cannot be filled in with the
// variables that a field of the request has. Other errors stay as they are.
func refuseFilling(field string, err error) error {
	var missing *template.MissingError
	var failed *template.RunError
	switch {
	case errors.As(err, &missing):
		return refuseField(field, reasonVariableMissing, "The template needs a value for %q: %s.", said(missing.Key), said(missing.Error())).
			at(missing.Line, missing.Column).with("key", said(missing.Key)).with("part", missing.Part)
	case errors.As(err, &failed):
		return refuseField(field, reasonTemplateFailed, "The template cannot be filled in: %s.", said(failed.Error())).
			at(failed.Line, failed.Column).with("part", failed.Part)
	}
	return err
}

// at adds the place in a template, where it is known.
func (f *failure) at(line, column int) *failure {
	if line > 0 {
		f = f.with("line", strconv.Itoa(line))
	}
	if column > 0 {
		f = f.with("column", strconv.Itoa(column))
	}
	return f
}

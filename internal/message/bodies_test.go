package message

import (
	"fmt"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

// multi and leaf build a BODYSTRUCTURE.
func multi(subtype string, children ...imap.BodyStructure) *imap.BodyStructureMultiPart {
	return &imap.BodyStructureMultiPart{Subtype: subtype, Children: children}
}

func leaf(typ, subtype string, more ...func(*imap.BodyStructureSinglePart)) *imap.BodyStructureSinglePart {
	p := &imap.BodyStructureSinglePart{Type: typ, Subtype: subtype, Encoding: "7bit", Extended: new(imap.BodyStructureSinglePartExt)}
	for _, f := range more {
		f(p)
	}
	return p
}

func disposed(value string, params map[string]string) func(*imap.BodyStructureSinglePart) {
	return func(p *imap.BodyStructureSinglePart) {
		p.Extended.Disposition = &imap.BodyStructureDisposition{Value: value, Params: params}
	}
}

func contentID(id string) func(*imap.BodyStructureSinglePart) {
	return func(p *imap.BodyStructureSinglePart) { p.ID = id }
}

func named(name string) func(*imap.BodyStructureSinglePart) {
	return func(p *imap.BodyStructureSinglePart) { p.Params = map[string]string{"NAME": name} }
}

func TestBodiesAndAttachments(t *testing.T) {
	t.Parallel()
	text, html := leaf("TEXT", "PLAIN"), leaf("TEXT", "HTML")
	png := leaf("image", "png", contentID("<a@b>"))
	pdf := leaf("application", "pdf", disposed("ATTACHMENT", map[string]string{"FILENAME": "a.pdf"}))
	alternative := multi("alternative", text, html)
	related := multi("related", alternative, png)
	start := multi("related", png, leaf("text", "html", contentID("<root@x>")))
	start.Extended = &imap.BodyStructureMultiPartExt{Params: map[string]string{"start": "<root@x>"}}
	nested := leaf("message", "rfc822")
	nested.MessageRFC822 = &imap.BodyStructureMessageRFC822{Envelope: &imap.Envelope{Subject: "x"}, BodyStructure: multi("mixed", text, pdf)}

	tests := []struct {
		name        string
		bs          imap.BodyStructure
		text, html  string
		attachments []string
		has         bool
	}{
		{"plain", text, "1", "", nil, false},
		{"html", html, "", "1", nil, false},
		{"alternative", alternative, "1", "2", nil, false},
		{"alternative with the same twice", multi("alternative", text, html, html), "1", "3", nil, false},
		{"related in mixed", multi("mixed", related, pdf), "1.1.1", "1.1.2", []string{"1.2", "2"}, true},
		{"related, picture only", related, "1.1", "1.2", []string{"2"}, false},
		{"related with start", start, "", "2", []string{"1"}, false},
		{"related, picture first", multi("related", png, html), "", "2", []string{"1"}, false},
		{"related within alternative", multi("alternative", text, multi("related", html, png)), "1", "2.1", []string{"2.2"}, false},
		{"mixed within alternative", multi("alternative", text, multi("mixed", html, pdf)), "1", "2.1", []string{"2.2"}, true},
		{"attached text is no body", leaf("text", "plain", disposed("attachment", nil)), "", "", []string{"1"}, true},
		{"named text is no body", multi("mixed", leaf("text", "plain", named("notes.txt")), text), "2", "", []string{"1"}, true},
		{"inline named text is one", leaf("text", "plain", named("msg.txt"), disposed("inline", nil)), "1", "", nil, false},
		{"second text", multi("mixed", text, pdf, text), "1", "", []string{"2", "3"}, true},
		{"picture in mixed without disposition", multi("mixed", text, leaf("image", "jpeg", named("p.jpg"))), "1", "", []string{"2"}, true},
		{"inline picture in mixed with id", multi("mixed", html, leaf("image", "png", contentID("<x>"), disposed("inline", nil))), "", "1", []string{"2"}, false},
		{"signed", multi("signed", alternative, leaf("application", "pgp-signature", named("signature.asc"))), "1.1", "1.2", []string{"2"}, false},
		{"report", multi("report", text, leaf("message", "delivery-status"), leaf("text", "rfc822-headers")), "1", "", []string{"2", "3"}, false},
		{"encrypted", multi("encrypted", leaf("application", "pgp-encrypted"), leaf("application", "octet-stream")), "", "", []string{"1", "2"}, false},
		{"forwarded", multi("mixed", text, nested), "1", "", []string{"2"}, true},
		{"message alone", nested, "", "", []string{"1"}, true},
		{"invitation", multi("alternative", text, html, leaf("text", "calendar")), "1", "2", []string{"3"}, false},
		{"AMP", multi("alternative", text, leaf("text", "x-amp-html"), html), "1", "3", nil, false},
		{"empty multipart", multi("mixed"), "", "", nil, false},
		{"none", nil, "", "", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := FromEnvelope(nil, tt.bs)
			path := func(p *Part) string {
				if p == nil {
					return ""
				}
				return p.Path
			}
			var attachments []string
			for _, p := range s.Attachments {
				attachments = append(attachments, p.Path)
				if s.Structure.Find(p.Path) != p {
					t.Errorf("Find(%q) finds another part", p.Path)
				}
			}
			got := fmt.Sprintf("%s|%s|%t", path(s.Text), path(s.HTML), s.HasAttachment)
			if want := fmt.Sprintf("%s|%s|%t", tt.text, tt.html, tt.has); got != want {
				t.Errorf("text|html|has attachment: %s, want %s", got, want)
			}
			if diff := cmp.Diff(tt.attachments, attachments); diff != "" {
				t.Errorf("attachments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStructureDefects(t *testing.T) {
	t.Parallel()
	deep := imap.BodyStructure(leaf("text", "plain"))
	for range 2 * DefaultLimits.Depth {
		deep = multi("mixed", deep)
	}
	wide := multi("mixed")
	for range DefaultLimits.Parts + 1 {
		wide.Children = append(wide.Children, leaf("text", "plain"))
	}
	var none *imap.BodyStructureMultiPart
	tests := []struct {
		name string
		bs   imap.BodyStructure
		want Defect
	}{
		{"nil", nil, DefectStructureMissing},
		{"nil of a type", none, DefectStructureMissing},
		{"empty multipart", multi("mixed"), DefectStructureMissing},
		{"deep", deep, DefectTooDeep},
		{"wide", wide, DefectTooManyParts},
		{"no type", leaf("te xt", "plain"), DefectContentType},
		{"raw name", leaf("image", "png", named("\xff.png")), DefectHeaderRaw8Bit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, found := FromBodyStructure(tt.bs); !cmp.Equal(found, []Defect{tt.want}) {
				t.Errorf("defects %v, want %s", found, tt.want)
			}
		})
	}
}

package gateway

import (
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

func TestViolationsInWords(t *testing.T) {
	t.Parallel()
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	c := &calls{validator: validator}
	for _, tt := range []struct {
		name string
		req  proto.Message
		want string
	}{
		{
			"name of another form", &posternv1.GetFolderRequest{Name: "accounts/ann"},
			"name: must be of the form accounts/…/folders/…",
		},
		{
			"name with a part", &posternv1.DownloadAttachmentRequest{Name: "accounts/ann/messages/m/attachments/x"},
			"name: must be of the form accounts/…/messages/…/attachments/…",
		},
		{
			"no name", &posternv1.MoveMessageRequest{Name: "accounts/ann/messages/m"},
			"folder: is missing: it must be of the form accounts/…/folders/…",
		},
		{
			"id", &posternv1.CreateAccountRequest{AccountId: "a.b", Account: &posternv1.Account{}},
			"account_id: must be 1 to 63 letters, digits, - and _, with a letter or digit first",
		},
		{
			"view", &posternv1.ListMessagesRequest{Parent: "accounts/ann", View: posternv1.Message_FULL},
			"view: must be one of MINIMAL, METADATA",
		},
		{
			"oneof", &posternv1.ReplayWebhookRequest{Name: "webhooks/w"},
			"from: one of after_cursor and start_time must be given",
		},
		{
			"rule of the whole request", &posternv1.LookupMessagesRequest{Parent: "accounts/ann"},
			"exactly one of email_id and message_id is required",
		},
		{
			"number", &posternv1.ListAccountsRequest{PageSize: 1e9},
			"page_size: must be greater than or equal to 0 and less than or equal to 500",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, ok := asFailure(c.validate(tt.req))
			if !ok || !strings.Contains(f.message, ": "+tt.want) {
				t.Errorf("got %q, want %q in it", f.message, tt.want)
			}
		})
	}
}

// Every pattern in the proto files has words, so that no client is shown a
// regular expression.
func TestPatternsHaveWords(t *testing.T) {
	t.Parallel()
	seen := 0
	var walk func(protoreflect.MessageDescriptors)
	walk = func(messages protoreflect.MessageDescriptors) {
		for i := range messages.Len() {
			walk(messages.Get(i).Messages())
			fields := messages.Get(i).Fields()
			for j := range fields.Len() {
				rules, err := protovalidate.ResolveFieldRules(fields.Get(j))
				if err != nil {
					t.Fatal(err)
				}
				patterns := []string{
					rules.GetString().GetPattern(), rules.GetRepeated().GetItems().GetString().GetPattern(),
					rules.GetMap().GetKeys().GetString().GetPattern(), rules.GetMap().GetValues().GetString().GetPattern(),
				}
				for _, pattern := range patterns {
					if pattern == "" {
						continue
					}
					seen++
					if patternText(pattern) == "" {
						t.Errorf("%s: nothing is said for %s", fields.Get(j).FullName(), pattern)
					}
				}
			}
		}
	}
	protoregistry.GlobalFiles.RangeFilesByPackage("postern.v1", func(file protoreflect.FileDescriptor) bool {
		walk(file.Messages())
		return true
	})
	if seen < 50 {
		t.Errorf("only %d patterns were found", seen)
	}
}

package gateway

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

// Lists that are too long are refused unread, wherever they are; the values of a
// caller's own may be of any length.
func TestCountElements(t *testing.T) {
	t.Parallel()
	names := func(n int) []string { return make([]string, n) }
	recipients := func(n, each int) *posternv1.MergeSubmissionsRequest {
		r := &posternv1.MergeSubmissionsRequest{}
		for range n {
			own := &structpb.ListValue{Values: make([]*structpb.Value, each)}
			r.Recipients = append(r.Recipients, &posternv1.MergeSubmissionsRequest_Recipient{
				Variables: &structpb.Struct{Fields: map[string]*structpb.Value{"v": structpb.NewListValue(own)}},
			})
		}
		return r
	}
	if err := countElements(recipients(500, 5000).ProtoReflect()); err != nil {
		t.Errorf("a caller's own values: %v", err)
	}
	if err := countElements((&posternv1.BatchModifyMessagesRequest{Names: names(maxElements)}).ProtoReflect()); err != nil {
		t.Errorf("as many as may be: %v", err)
	}
	many := &posternv1.CreateWebhookRequest{Webhook: &posternv1.Webhook{Types: names(maxElements + 1)}}
	if err := countElements(many.ProtoReflect()); err == nil || !strings.Contains(err.Error(), "webhook.types: must have no more than 1000 elements, and has 1001") {
		t.Errorf("one more: %v", err)
	}
	all := &posternv1.BatchModifyMessagesRequest{}
	m := all.ProtoReflect()
	total := maxAllElements - 5
	all.Names = names(6)
	if err := countIn(m, "", &total); err == nil || !strings.Contains(err.Error(), "together") {
		t.Errorf("too many together: %v", err)
	}
}

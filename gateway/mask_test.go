package gateway

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	posternv1 "github.com/postern-mail/postern/gen/postern/v1"
)

func paths(t *testing.T, list ...string) []maskPath {
	t.Helper()
	p, err := readPaths(&fieldmaskpb.FieldMask{Paths: list}, (&posternv1.Account{}).ProtoReflect().Descriptor(), "mask")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestReadPaths(t *testing.T) {
	t.Parallel()
	got := paths(t, "displayName", "imap.tls_mode", "imap.tlsMode", "labels", "labels.a.b", "watch.pollInterval")
	want := []maskPath{{"display_name"}, {"imap", "tls_mode"}, {"imap", "tls_mode"}, {"labels"}, {"labels", "a.b"}, {"watch", "poll_interval"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := paths(t, "*"); got != nil {
		t.Errorf("* = %v", got)
	}
	for name, list := range map[string][]string{
		"unknown": {"colour"}, "unknown below": {"imap.colour"}, "empty": {""}, "below a scalar": {"email.a"},
		"below a list": {"capabilities.a"}, "star and more": {"*", "email"}, "star below": {"imap.*"}, "stray dot": {"imap."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readPaths(&fieldmaskpb.FieldMask{Paths: list}, (&posternv1.Account{}).ProtoReflect().Descriptor(), "mask")
			if err == nil {
				t.Errorf("%q was taken", list)
			}
		})
	}
}

func sample() *posternv1.Account {
	return &posternv1.Account{
		Name: "accounts/ann", DisplayName: "Ann", Labels: map[string]string{"a": "1", "b": "2"},
		Imap: &posternv1.MailServer{Host: "imap.example.com", Port: 993, Credential: &posternv1.MailServer_Password{Password: "old"}},
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	got := sample()
	keep(got, paths(t, "name", "imap.host", "labels.b"))
	want := &posternv1.Account{
		Name: "accounts/ann", Labels: map[string]string{"b": "2"}, Imap: &posternv1.MailServer{Host: "imap.example.com"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	all := sample()
	keep(all, nil)
	if !proto.Equal(all, sample()) {
		t.Error("no mask does not keep everything")
	}
}

func TestOverwrite(t *testing.T) {
	t.Parallel()
	src := &posternv1.Account{
		Labels: map[string]string{"b": "3", "c": "4"},
		Imap:   &posternv1.MailServer{Host: "other.example.com", Credential: &posternv1.MailServer_Password{Password: "new"}},
	}
	got := sample()
	for _, p := range paths(t, "display_name", "imap.password", "labels.b", "labels.a", "smtp.host") {
		overwrite(got.ProtoReflect(), src.ProtoReflect(), p)
	}
	want := sample()
	want.DisplayName = ""
	want.Labels = map[string]string{"b": "3"}
	want.Imap.Credential = &posternv1.MailServer_Password{Password: "new"}
	want.Smtp = &posternv1.MailServer{}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

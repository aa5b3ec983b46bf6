package message

import (
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

func TestParseAddressList(t *testing.T) {
	t.Parallel()
	ann := Address{Name: "Ann Lee", Address: "ann@example.com"}
	bob := Address{Address: "bob@example.org"}
	tests := []struct {
		name, raw string
		want      []Address
		broken    bool
	}{
		{"empty", "", nil, false},
		{"bare", "bob@example.org", []Address{bob}, false},
		{"with name", "Ann Lee <ann@example.com>", []Address{ann}, false},
		{"two", "Ann Lee <ann@example.com>, bob@example.org", []Address{ann, bob}, false},
		{"empty members", ", Ann Lee <ann@example.com>,, ,", []Address{ann}, false},
		{"quoted name with comma", `"Lee, Ann" <ann@example.com>`, []Address{{Name: "Lee, Ann", Address: ann.Address}}, false},
		{"escaped quotes", `"Ann \"the\" Lee" <ann@example.com>`, []Address{{Name: `Ann "the" Lee`, Address: ann.Address}}, false},
		{"single quotes", "'Ann Lee' <ann@example.com>", []Address{ann}, false},
		{"comment for a name", "ann@example.com (Ann Lee)", []Address{ann}, false},
		{"nested comment", "ann@example.com (Ann (x) Lee)", []Address{{Name: "Ann (x) Lee", Address: ann.Address}}, false},
		{"comment besides a name", "Ann Lee (Sales) <ann@example.com>", []Address{ann}, false},
		{"encoded name", "=?utf-8?Q?Ann_Lee?= <ann@example.com>", []Address{ann}, false},
		{"encoded name in quotes", `"=?utf-8?Q?Ann_Lee?=" <ann@example.com>`, []Address{ann}, false},
		{"comma in an encoded word", "=?utf-8?Q?Lee,_Ann?= <ann@example.com>", []Address{{Name: "Lee, Ann", Address: ann.Address}}, false},
		{"group", "Team: Ann Lee <ann@example.com>, bob@example.org;", []Address{
			{Name: ann.Name, Address: ann.Address, Group: "Team"}, {Address: bob.Address, Group: "Team"}}, false},
		{"empty group", "undisclosed-recipients:;", []Address{{Name: "undisclosed-recipients", Group: "undisclosed-recipients"}}, false},
		{"group without its end", "Team: bob@example.org", []Address{{Address: bob.Address, Group: "Team"}}, true},
		{"behind a group", "Team: a@example.com; bob@example.org", []Address{{Address: "a@example.com", Group: "Team"}, bob}, false},
		{"semicolons", "Ann Lee <ann@example.com>; bob@example.org", []Address{ann, bob}, true},
		{"route", "<@relay.example,@b.example:bob@example.org>", []Address{bob}, false},
		{"quoted local part", `"b, c"@example.org`, []Address{{Address: `"b, c"@example.org`}}, false},
		{"quoted local part in brackets", `B <"b>c"@example.org>`, []Address{{Name: "B", Address: `"b>c"@example.org`}}, false},
		{"blanks around at", "bob @ example.org", []Address{bob}, false},
		{"blanks in brackets", "< bob@example.org >", []Address{bob}, false},
		{"mailto", "<mailto:bob@example.org>", []Address{bob}, false},
		{"double brackets", "<<bob@example.org>>", []Address{bob}, false},
		{"missing bracket", "Ann Lee <ann@example.com", []Address{ann}, true},
		{"missing bracket before a comma", "Ann Lee <ann@example.com, bob@example.org", []Address{ann, bob}, true},
		{"no brackets", "Ann Lee ann@example.com", []Address{ann}, true},
		{"no comma", "Ann Lee <ann@example.com> <bob@example.org>", []Address{ann, bob}, true},
		{"only a name", "Ann Lee", []Address{{Name: "Ann Lee"}}, true},
		{"empty brackets", "Ann Lee <>", []Address{{Name: "Ann Lee"}}, true},
		{"brackets without at", "<root>", []Address{{Name: "root"}}, true},
		{"null sender", "<>", nil, true},
		{"unclosed quote", `"Ann Lee <ann@example.com>`, []Address{ann}, true},
		{"unclosed comment", "bob@example.org (Bob", []Address{{Name: "(Bob", Address: bob.Address}}, true},
		{"all encoded", "=?utf-8?Q?bob=40example.org?=", []Address{bob}, true},
		{"raw UTF-8", "Jörg <jörg@exämple.com>", []Address{{Name: "Jörg", Address: "jörg@exämple.com"}}, false},
		{"IPv6", "bob@[IPv6:2001:db8::1]", []Address{{Address: "bob@[IPv6:2001:db8::1]"}}, false},
		{"address as name", `"ann@example.com" <ann@example.com>`, []Address{{Name: "ann@example.com", Address: ann.Address}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, found := ParseAddressList(tt.raw)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if (len(found) > 0) != tt.broken {
				t.Errorf("defects %v", found)
			}
		})
	}
}

func TestAddressesOfEnvelope(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		list []imap.Address
		want []Address
	}{
		{"plain", []imap.Address{{Name: "=?utf-8?Q?J=C3=B6rg?=", Mailbox: "j", Host: "example.com"}}, []Address{{Name: "Jörg", Address: "j@example.com"}}},
		{"group", []imap.Address{{Mailbox: "Team"}, {Mailbox: "a", Host: "example.com"}, {}}, []Address{{Address: "a@example.com", Group: "Team"}}},
		{"empty group", []imap.Address{{Mailbox: "undisclosed-recipients"}, {}}, []Address{{Name: "undisclosed-recipients", Group: "undisclosed-recipients"}}},
		{"group without end", []imap.Address{{Mailbox: "Team"}}, []Address{{Name: "Team", Group: "Team"}}},
		{"Dovecot, no address", []imap.Address{{Name: "Ann", Mailbox: "MISSING_MAILBOX", Host: "MISSING_DOMAIN"}}, []Address{{Name: "Ann"}}},
		{"Dovecot, no domain", []imap.Address{{Mailbox: "root", Host: "MISSING_DOMAIN"}}, []Address{{Name: "root"}}},
		{"UW, syntax error", []imap.Address{{Mailbox: "UNEXPECTED_DATA_AFTER_ADDRESS", Host: ".SYNTAX-ERROR."}}, nil},
		{"name and no mailbox", []imap.Address{{Name: "Ann"}}, []Address{{Name: "Ann"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var found defects
			if diff := cmp.Diff(tt.want, addressesOf(tt.list, "", &found)); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
		})
	}
}

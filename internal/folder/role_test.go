package folder

import (
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

func candidate(name string, attrs ...imap.MailboxAttr) RoleCandidate {
	return RoleCandidate{Folder: Folder{Name: name, Delimiter: '/'}, Attrs: attrs}
}

func overridden(name string, role Role) RoleCandidate {
	c := candidate(name)
	c.Folder.Role = role
	return c
}

func TestInferRoles(t *testing.T) {
	t.Parallel()
	said := func(r Role) AssignedRole { return AssignedRole{r, SourceSpecialUse} }
	guessed := func(r Role) AssignedRole { return AssignedRole{r, SourceHeuristic} }
	none := AssignedRole{}
	tests := []struct {
		name       string
		candidates []RoleCandidate
		want       []AssignedRole
	}{
		{
			"what the server says",
			[]RoleCandidate{
				candidate("INBOX"), candidate("a", imap.MailboxAttrSent), candidate("b", imap.MailboxAttrDrafts),
				candidate("c", imap.MailboxAttrTrash), candidate("d", imap.MailboxAttrJunk), candidate("e", imap.MailboxAttrArchive),
				candidate("f", imap.MailboxAttrAll), candidate("x/y/g", imap.MailboxAttrFlagged), candidate("h"),
			},
			[]AssignedRole{
				said(RoleInbox), said(RoleSent), said(RoleDrafts), said(RoleTrash), said(RoleJunk), said(RoleArchive),
				said(RoleAll), said(RoleFlagged), none,
			},
		},
		{
			"the server's word goes before a name",
			[]RoleCandidate{candidate("Sent"), candidate("Elsewhere", `\sent`), candidate("Trash")},
			[]AssignedRole{none, said(RoleSent), guessed(RoleTrash)},
		},
		{
			"a folder has one role",
			[]RoleCandidate{candidate("Drafts", imap.MailboxAttrSent), candidate("Entwürfe")},
			[]AssignedRole{said(RoleSent), guessed(RoleDrafts)},
		},
		{
			"one folder a role, whatever the order",
			[]RoleCandidate{candidate("Gesendet"), candidate("INBOX/Sent"), candidate("Sent"), candidate("Sent Items")},
			[]AssignedRole{none, none, guessed(RoleSent), none},
		},
		{
			"two folders that the server gives one role",
			[]RoleCandidate{candidate("b", imap.MailboxAttrTrash), candidate("a", imap.MailboxAttrTrash), candidate("x/a", imap.MailboxAttrTrash)},
			[]AssignedRole{none, said(RoleTrash), none},
		},
		{
			"what somebody says goes first",
			[]RoleCandidate{
				overridden("Mine", RoleSent), candidate("Sent", imap.MailboxAttrSent), overridden("Archive", RoleNone),
				candidate("Archives"), overridden("Trash", RoleJunk), candidate("Deleted Items"),
			},
			[]AssignedRole{
				{RoleSent, SourceOverride}, none, {RoleNone, SourceOverride}, guessed(RoleArchive),
				{RoleJunk, SourceOverride}, guessed(RoleTrash),
			},
		},
		{
			"INBOX cannot be anything else",
			[]RoleCandidate{overridden("INBOX", RoleTrash)},
			[]AssignedRole{said(RoleInbox)},
		},
		{
			"below the namespace's prefix",
			[]RoleCandidate{
				{Folder: Folder{Name: "INBOX.Papierkorb", Delimiter: '.', Prefix: "INBOX."}},
				{Folder: Folder{Name: "Mail/Entwürfe", Delimiter: '/', Prefix: "Mail/"}},
			},
			[]AssignedRole{guessed(RoleTrash), guessed(RoleDrafts)},
		},
		{
			"names near the root",
			[]RoleCandidate{candidate("[Gmail]/Papierkorb"), candidate("Inbox/Entwürfe"), candidate("Projects/Sent"), candidate("INBOX/2026/Spam")},
			[]AssignedRole{guessed(RoleTrash), guessed(RoleDrafts), none, none},
		},
		{
			"INBOX in any case, and nothing like it",
			[]RoleCandidate{candidate("inbox"), candidate("Inbox2"), candidate("x/INBOX")},
			[]AssignedRole{said(RoleInbox), none, none},
		},
		{
			"folders that hold no mail",
			[]RoleCandidate{candidate("Sent", imap.MailboxAttrNoSelect), candidate("Trash", imap.MailboxAttrNonExistent, imap.MailboxAttrTrash)},
			[]AssignedRole{none, none},
		},
		{
			"letter case, accents, forms and ornaments",
			[]RoleCandidate{
				candidate("ELEMENTS  ENVOYES"), candidate("e\u0301le\u0301ments-supprime\u0301s"), candidate("★ brouillons ★"), candidate("Ｊｕｎｋ_Ｅ‐ｍａｉｌ"),
			},
			[]AssignedRole{guessed(RoleSent), guessed(RoleTrash), guessed(RoleDrafts), guessed(RoleJunk)},
		},
		{
			"names that only contain one",
			[]RoleCandidate{candidate("Sent to Bob"), candidate("My Drafts"), candidate("Trashy"), candidate("")},
			[]AssignedRole{none, none, none, none},
		},
		{"nothing", nil, []AssignedRole{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, InferRoles(tt.candidates)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestRolesInManyLanguages: what a mailbox looks like whose folders were made
// by a client in one language. Each list is sent, drafts, trash, junk, archive.
func TestRolesInManyLanguages(t *testing.T) {
	t.Parallel()
	languages := map[string][5]string{
		"English":              {"Sent Items", "Drafts", "Deleted Items", "Junk E-mail", "Archive"},
		"German":               {"Gesendete Elemente", "Entwürfe", "Gelöschte Elemente", "Junk-E-Mail", "Archiv"},
		"French":               {"Éléments envoyés", "Brouillons", "Éléments supprimés", "Courrier indésirable", "Archives"},
		"Spanish":              {"Elementos enviados", "Borradores", "Elementos eliminados", "Correo no deseado", "Archivo"},
		"Portuguese":           {"Itens Enviados", "Rascunhos", "Itens Excluídos", "Lixo Eletrônico", "Arquivo Morto"},
		"Italian":              {"Posta inviata", "Bozze", "Posta eliminata", "Posta indesiderata", "Archivio"},
		"Catalan":              {"Elements enviats", "Esborranys", "Elements suprimits", "Correu brossa", "Arxiu"},
		"Dutch":                {"Verzonden items", "Concepten", "Verwijderde items", "Ongewenste e-mail", "Archief"},
		"Swedish":              {"Skickat", "Utkast", "Borttaget", "Skräppost", "Arkiv"},
		"Danish":               {"Sendt post", "Kladder", "Slettet post", "Uønsket mail", "Arkiv"},
		"Norwegian":            {"Sendte elementer", "Utkast", "Slettede elementer", "Søppelpost", "Arkiv"},
		"Finnish":              {"Lähetetyt", "Luonnokset", "Poistetut", "Roskaposti", "Arkisto"},
		"Polish":               {"Elementy wysłane", "Wersje robocze", "Elementy usunięte", "Wiadomości-śmieci", "Archiwum"}, //nolint:misspell // it is Polish
		"Czech":                {"Odeslaná pošta", "Koncepty", "Odstraněná pošta", "Nevyžádaná pošta", "Archiv"},
		"Slovak":               {"Odoslaná pošta", "Koncepty", "Odstránené položky", "Nevyžiadaná pošta", "Archív"},
		"Hungarian":            {"Elküldött elemek", "Piszkozatok", "Törölt elemek", "Levélszemét", "Archívum"},
		"Romanian":             {"Elemente trimise", "Schițe", "Elemente șterse", "E-mail nedorit", "Arhivă"},
		"Bulgarian":            {"Изпратени", "Чернови", "Изтрити", "Нежелана поща", "Архив"},
		"Russian":              {"Отправленные", "Черновики", "Удалённые", "Спам", "Архив"},
		"Ukrainian":            {"Надіслані", "Чернетки", "Видалені", "Небажана пошта", "Архів"},
		"Greek":                {"Απεσταλμένα", "Πρόχειρα", "Διαγραμμένα", "Ανεπιθύμητη αλληλογραφία", "Αρχειοθήκη"},
		"Turkish":              {"Gönderilmiş Öğeler", "Taslaklar", "Silinmiş Öğeler", "Önemsiz E-posta", "Arşiv"},
		"Croatian":             {"Poslane stavke", "Skice", "Izbrisane stavke", "Neželjena pošta", "Arhiva"},
		"Serbian":              {"Послато", "Недовршено", "Отпад", "Непожељна пошта", "Архива"},
		"Slovenian":            {"Poslano", "Osnutki", "Smeti", "Neželena pošta", "Arhiv"},
		"Lithuanian":           {"Išsiųsta", "Juodraščiai", "Šiukšlinė", "Brukalas", "Archyvas"},
		"Latvian":              {"Nosūtītie", "Melnraksti", "Atkritne", "Mēstules", "Arhīvs"},
		"Estonian":             {"Saadetud", "Mustandid", "Prügikast", "Rämpspost", "Arhiiv"},
		"Japanese":             {"送信済みアイテム", "下書き", "削除済みアイテム", "迷惑メール", "アーカイブ"},
		"Chinese, simplified":  {"已发送邮件", "草稿", "已删除邮件", "垃圾邮件", "存档"},
		"Chinese, traditional": {"寄件備份", "草稿", "刪除的郵件", "垃圾郵件", "封存"},
		"Korean":               {"보낸 편지함", "임시 보관함", "지운 편지함", "스팸", "보관함"},
		"Arabic":               {"العناصر المرسلة", "المسودات", "العناصر المحذوفة", "البريد العشوائي", "الأرشيف"},
		"Hebrew":               {"פריטים שנשלחו", "טיוטות", "פריטים שנמחקו", "דואר זבל", "ארכיון"},
		"Vietnamese":           {"Thư đã gửi", "Thư nháp", "Thùng rác", "Thư rác", "Lưu trữ"},
		"Thai":                 {"รายการที่ถูกส่ง", "แบบร่าง", "รายการที่ถูกลบ", "อีเมลขยะ", "ที่เก็บถาวร"},
		"Indonesian":           {"Item Terkirim", "Draf", "Item Terhapus", "Email Sampah", "Arsip"},
		"Hindi":                {"भेजे गए", "ड्राफ़्ट", "ट्रैश", "स्पैम", "संग्रह"},
	}
	order := [5]Role{RoleSent, RoleDrafts, RoleTrash, RoleJunk, RoleArchive}
	for language, names := range languages {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			candidates := []RoleCandidate{candidate("INBOX"), candidate("Projects")}
			for _, name := range names {
				candidates = append(candidates, candidate("INBOX/"+name))
			}
			for i, got := range InferRoles(candidates)[2:] {
				if want := (AssignedRole{order[i], SourceHeuristic}); got != want {
					t.Errorf("%q is %+v, want %+v", names[i], got, want)
				}
			}
		})
	}
}

// TestNamesAreOfOneRole: a name in two lists would mean whichever Go's map
// gives first.
func TestNamesAreOfOneRole(t *testing.T) {
	t.Parallel()
	roles := make(map[string]Role)
	for role, names := range roleNames {
		for _, name := range names {
			folded := foldName(name)
			if folded == "" {
				t.Errorf("nothing is left of %q", name)
			}
			if other, ok := roles[folded]; ok && other != role {
				t.Errorf("%q is of %s and of %s", name, role, other)
			}
			roles[folded] = role
		}
	}
}
